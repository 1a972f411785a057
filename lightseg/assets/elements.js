"use strict";
// Elements, numbers and links. The text of records reaches the page as text (textContent, setAttribute), never as markup.

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

/** A name that may be broken after its underscores. */
function breakable(name) {
  return name.split(/(?<=_)/).flatMap((part, i) => (i ? [element("wbr"), part] : [part]));
}

/** Fixed decimals, so that the decimal points of a column align; powers of ten for huge numbers. */
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

/** 220 M, 1.4 G: for axes and tooltips. */
function short(value, unit) {
  if (unit) return `${Number(value.toPrecision(3))} ${unit}`;
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (value >= size) return value < 1e13 ? `${Number((value / size).toPrecision(3))} ${letter}` : value.toExponential(1);
  return `${Number(value.toPrecision(3))}`;
}

/** The unit for a column of times, by the longest time. */
function timeUnit(seconds) {
  const longest = Math.max(0, ...seconds);
  return longest < 120 ? { unit: "s", size: 1 } : longest < 7200 ? { unit: "min", size: 60 } : { unit: "h", size: 3600 };
}

/** A link to a file beside the page, or the plain name where the address would lead to a script or another host. */
function fileLink(name, address) {
  const page = new URL(document.baseURI);
  let url = null;
  try {
    url = new URL(address, page);
  } catch {
    return element("span", {}, name);
  }
  const sameHost = url.protocol === page.protocol && url.host === page.host;
  return sameHost ? element("a", { href: address }, name) : element("span", {}, name);
}
