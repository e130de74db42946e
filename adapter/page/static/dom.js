// Small helpers to make elements. Text is always text: nothing that a model or a client wrote is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Make an element of HTML; attributes that begin with "on" are listeners. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Make an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Set a node's text if it is another one: what did not change is neither drawn nor read out again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Make tabs: `panels` is a list of [name, node]. Arrows move between them. Returns the row of tabs. */
export function tabs(label, panels, chosen = () => {}) {
  const id = `tabs-${Math.random().toString(36).slice(2)}`;
  const buttons = panels.map(([name, panel], i) => {
    panel.id ||= `${id}-panel-${i}`;
    panel.setAttribute("role", "tabpanel");
    return el("button", {
      type: "button", role: "tab", "aria-controls": panel.id, onclick: () => choose(i), onkeydown: (event) => move(event, i),
    }, name);
  });
  function choose(wanted) {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", String(i === wanted));
      button.tabIndex = i === wanted ? 0 : -1;
      panels[i][1].hidden = i !== wanted;
    });
    chosen(wanted);
  }
  function move(event, i) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = (i + step + buttons.length) % buttons.length;
    choose(next);
    buttons[next].focus();
  }
  choose(0);
  return el("div", { class: "tabs", role: "tablist", "aria-label": label }, buttons);
}

/** Copy a node's text. Browsers have a clipboard only for https and localhost; elsewhere the selection is copied. */
export async function copyText(node) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(node.textContent);
      return true;
    } catch { /* Not allowed: the old way. */ }
  }
  const range = document.createRange();
  range.selectNodeContents(node);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  return document.execCommand("copy");
}
