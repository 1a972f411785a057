"use strict";
// Elements, numbers and links. Whatever a record says reaches the page as text (textContent, setAttribute), never as markup.

const SVG = "http://www.w3.org/2000/svg";
const NONE = "–";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A name that breaks after its underscores where it must break. */
function breakable(name) {
  return name.split(/(?<=_)/).flatMap((part, at) => (at ? [element("wbr"), part] : [part]));
}

/** Fixed decimals, so that the points of a column stand below each other; powers of ten where nobody would read digits. */
function fixed(value, digits) {
  if (!Number.isFinite(value)) return NONE;
  return Math.abs(value) >= 1e7 ? value.toExponential(2) : value.toFixed(digits);
}

function percent(value) {
  return Number.isFinite(value) ? fixed(100 * value, 1) : NONE;
}

/** A metric's value: a fraction in per cent where that is its unit, else the number itself. */
function inUnit(value, unit) {
  return unit === "%" ? percent(value) : fixed(value, 2);
}

/** 220 M, 1.4 G: of axes and tooltips. */
function short(value, unit) {
  if (unit) return `${Number(value.toPrecision(3))} ${unit}`;
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (value >= size) return value < 1e13 ? `${Number((value / size).toPrecision(3))} ${letter}` : value.toExponential(1);
  return `${Number(value.toPrecision(3))}`;
}

/** One unit for a column of times, by its longest. */
function timeUnit(seconds) {
  const longest = Math.max(0, ...seconds);
  return longest < 120 ? { unit: "s", size: 1 } : longest < 7200 ? { unit: "min", size: 60 } : { unit: "h", size: 3600 };
}

/** A link to a file beside the page, or the plain name where the address would lead to a script or another host. */
function fileLink(name, address) {
  const here = new URL(document.baseURI);
  let at = null;
  try {
    at = new URL(address, here);
  } catch {
    return element("span", {}, name);
  }
  const beside = at.protocol === here.protocol && at.host === here.host;
  return beside ? element("a", { href: address }, name) : element("span", {}, name);
}
