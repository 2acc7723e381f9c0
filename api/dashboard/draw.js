// Drawing: small helpers over the DOM. Text goes in as text only, never as
// markup, because names are chosen by the operators of members.

export const $ = (id) => document.getElementById(id);

// plain replaces what cannot be seen and could turn the text around it: a name
// is not to change how the sentence reads that it stands in.
export const plain = (text) => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "\uFFFD");

// set writes text, and touches the page only if it differs.
export function set(node, text) {
  const clean = plain(text);
  if (node.textContent !== clean) node.textContent = clean;
}

// put sets an attribute, or takes it away if the value is null or false.
export function put(node, name, value) {
  if (value === null || value === false || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== plain(String(value))) node.setAttribute(name, plain(String(value)));
}

// make creates an element with a class and others in it.
export function make(tag, cls, ...children) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  node.append(...children);
  return node;
}

// keep brings the children of a node in line with a list. Children are told
// apart by key and kept, so that focus, selection and what is open stay.
export function keep(parent, items, key, create, update) {
  const keys = items.map((item) => String(key(item)));
  const wanted = new Set(keys);
  const have = new Map();
  for (const node of [...parent.children]) {
    if (wanted.has(node.dataset.key)) have.set(node.dataset.key, node);
    else node.remove();
  }
  let at = parent.firstElementChild;
  items.forEach((item, i) => {
    const node = have.get(keys[i]) ?? create(item);
    node.dataset.key = keys[i];
    update(node, item);
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  });
}

// The colours that tell leaders apart, given out in the order of appearance.
const hues = new Map();
const hueCount = 6;

// hue marks a node with a leader's colour.
export function hue(node, name) {
  if (name === null || name === undefined) return put(node, "data-hue", null);
  if (!hues.has(name)) hues.set(name, hues.size % hueCount);
  put(node, "data-hue", hues.get(name));
}
