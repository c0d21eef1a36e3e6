"""Where settings come from: arguments > `DATAFLARE_A__B` > a folder of secrets > one YAML or TOML file.

A key that does not exist is refused with the nearest one that does. No message repeats a value that may be
secret. Not here: which settings there are (`settings.py`).
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
    YamlConfigSettingsSource,
)

from dataflare_fast.errors import CallError
from dataflare_fast.service.settings import JobSettings, ServiceSettings

__all__ = ["read_settings", "settings_schema", "shown_settings"]

_PREFIX = "DATAFLARE_"


class _Reader(BaseSettings, ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )


def read_settings(
    file: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
    *,
    secrets: Path | None = None,
) -> ServiceSettings:
    """Reads everything, and makes paths absolute: those of the file are relative to its folder.

    Args:
        file: YAML or TOML; None: none.
        arguments: what was given on the command line.
        secrets: a folder of files, each named as a variable without its prefix.

    Raises:
        CallError: everything that is not right, a line each.
    """
    if file is not None and not file.is_file():
        raise CallError(f"config: expected a file, got {file}, which is not there")
    if file is not None and file.suffix not in (".yaml", ".yml", ".toml"):
        raise CallError(f"config: expected a .yaml or .toml file, got {file}")
    if secrets is not None and not secrets.is_dir():
        raise CallError(f"config: secrets: expected a folder, got {secrets}")
    _refuse_near_misses()

    class Reader(_Reader):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
            if secrets is not None:
                sources.append(
                    NestedSecretsSettingsSource(
                        file_secret_settings,
                        secrets_dir=secrets,
                        secrets_prefix="",
                        secrets_case_sensitive=True,  # the names of variables keep their case
                        secrets_nested_delimiter="__",
                    )
                )
            if file is not None and file.suffix == ".toml":
                sources.append(TomlConfigSettingsSource(settings_cls, file))
            elif file is not None:
                sources.append(YamlConfigSettingsSource(settings_cls, file))
            return tuple(sources)

    try:
        found = Reader(**dict(arguments or {}))
    except ValidationError as error:
        lines = [_line(one["type"], one["loc"], one["msg"]) for one in error.errors()]
        raise CallError("\n".join(lines)) from None
    except yaml.YAMLError as error:
        raise CallError(f"config: {file}: {error}") from None
    except ValueError as error:  # TOML that is none
        raise CallError(f"config: {file}: {error}") from None
    return _with_jobs(found, Path.cwd() if file is None else file.absolute().parent)


def settings_schema() -> dict[str, Any]:
    """The JSON Schema of the configuration."""
    return ServiceSettings.model_json_schema()


def shown_settings(settings: ServiceSettings) -> dict[str, Any]:
    """What may be printed: secrets are stars."""
    shown: dict[str, Any] = json.loads(settings.model_dump_json(exclude_none=True))
    return shown


def _with_jobs(found: ServiceSettings, folder: Path) -> ServiceSettings:
    """Absolute paths, and the jobs of `jobs_folder`; those that are written out win."""
    jobs: dict[str, JobSettings] = {}
    jobs_folder = None if found.jobs_folder is None else folder / found.jobs_folder
    if jobs_folder is not None:
        if not jobs_folder.is_dir():
            raise CallError(f"config: jobs_folder: expected a folder, got {jobs_folder}")
        for path in sorted(jobs_folder.glob("*.py")):
            jobs[path.stem] = JobSettings(target=f"{path}:job")
    for name, job in found.jobs.items():
        file, colon, target = job.target.rpartition(":")
        if not colon or not file:
            raise CallError(f"config: jobs.{name}.target: expected FILE.py:NAME, got {job.target}")
        jobs[name] = job.model_copy(update={"target": f"{folder / file}:{target}"})
    update = {"jobs": jobs, "jobs_folder": jobs_folder, "folder": folder / found.folder}
    return ServiceSettings.model_construct(**{**dict(found), **update})


def _line(kind: str, place: tuple[str | int, ...], message: str) -> str:
    where = ".".join(map(str, place))
    if kind != "extra_forbidden":
        return f"config: {where}: {message.removeprefix('Value error, ')}"
    known = _fields_at(ServiceSettings, place[:-1])
    near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0)
    return (
        f"config: {where}: no such setting; the nearest is '{near[0]}'"
        if near
        else f"config: {where}: unknown"
    )


def _fields_at(model: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    for step in place:
        field = model.model_fields.get(str(step))
        if field is None:
            continue  # the name of a job: its model stays
        found = _model_in(field.annotation)
        if found is not None:
            model = found
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one)) is not None), None)


def _refuse_near_misses() -> None:
    """A variable that is nearly the name of a setting is one that was meant; others are not ours."""
    known = list(ServiceSettings.model_fields)
    for variable in os.environ:
        if not variable.upper().startswith(_PREFIX):
            continue
        name = variable[len(_PREFIX) :].split("__")[0].lower()
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        if near:
            raise CallError(f"config: {variable}: no such setting; the nearest is {_PREFIX}{near[0].upper()}")
