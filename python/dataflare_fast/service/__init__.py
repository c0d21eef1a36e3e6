"""The service: many jobs, each in a process of its own, with an API, metrics and a console. Extra
`[service]`.

    settings.py, reading_settings.py   what the operator writes
    supervisor.py -> job_runner.py     which jobs there are; one job's life
    worker.py, control.py              the process of a job, and how the service talks to it
    views.py, stored.py                what is shown: of snapshots; of checkpoints, dead letters and logs
    api.py, openapi.py, app.py         HTTP

Not here: the command line (`cli/`), which talks to the API; the console's pages (`console/`).
"""
