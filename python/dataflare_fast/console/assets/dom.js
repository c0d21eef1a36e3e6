// Elements from descriptions, and texts that change only when they differ. Not here: what is shown.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "rect", "circle", "line", "text", "title"]);

/** An element: attributes, then children (elements, texts, null). `on...` attributes are listeners. */
export function h(tag, attributes = {}, ...children) {
  const own = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) own.addEventListener(name.slice(2), value);
    else own.setAttribute(name, value === true ? "" : value);
  }
  own.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return own;
}

/** Sets a text, if it is another one. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute, if it is another value. */
export function put(element, name, value) {
  const text = String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/** A list of elements kept by key: made once, moved when the order differs, removed when gone. */
export function keyed(parent, make) {
  const known = new Map();
  return (items, key, update) => {
    const wanted = new Set(items.map(key));
    for (const [name, one] of known) {
      if (!wanted.has(name)) {
        one.element.remove();
        known.delete(name);
      }
    }
    items.forEach((item, index) => {
      const name = key(item);
      if (!known.has(name)) known.set(name, make(item));
      const one = known.get(name);
      if (parent.children[index] !== one.element) parent.insertBefore(one.element, parent.children[index] ?? null);
      update(one, item);
    });
  };
}
