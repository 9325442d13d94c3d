"use strict";
// Links between the words of a sentence and of its translation; a slider says at which layer.
(() => {
  const $ = (id) => document.getElementById(id), data = JSON.parse($("align-data").textContent);
  const layers = [...new Set(data.found.map((one) => one.layer))], methods = [...new Set(data.found.map((one) => one.method))];
  const HEIGHT = 110, key = ([i, j]) => `${i}-${j}`;
  let boxes = [[], []], paths = [];

  const make = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text, ...more });
  const found = () => data.found.find((one) => one.layer === layers[+$("layer").value] && one.method === $("method").value);
  function kinds(k) { // each link with what it is
    const links = found().links[k];
    if (!data.gold) return links.map((link) => ({ link, kind: "link" }));
    const [sure, possible] = data.gold[k], may = new Set(possible.map(key)), here = new Set(links.map(key));
    return [...sure.filter((link) => !here.has(key(link))).map((link) => ({ link, kind: "missing" })),
      ...links.map((link) => ({ link, kind: may.has(key(link)) ? "right" : "wrong" }))];
  }
  function words(k) {
    boxes = ["source", "target"].map((side, s) => {
      const all = data.words[k][s].map((word, i) => {
        const box = make("span", word, { className: "word", title: word, tabIndex: 0 });
        for (const name of ["pointerenter", "focus"]) box.addEventListener(name, () => pick(s, i));
        for (const name of ["pointerleave", "blur"]) box.addEventListener(name, () => pick(s, -1));
        return box;
      });
      $(side).replaceChildren(...all);
      return all;
    });
  }
  function draw() {
    const k = +$("pair").value, svg = $("links");
    const width = Math.max($("source").scrollWidth, $("target").scrollWidth), left = $("drawn").getBoundingClientRect().left;
    svg.setAttribute("width", width);
    svg.setAttribute("height", HEIGHT);
    const middle = (box) => { const at = box.getBoundingClientRect(); return (at.left + at.right) / 2 - left; };
    paths = kinds(k).map(({ link, kind }) => {
      const [x, y] = [middle(boxes[0][link[0]]), middle(boxes[1][link[1]])].map((one) => one.toFixed(1));
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", `M${x} 2C${x} ${HEIGHT / 2} ${y} ${HEIGHT / 2} ${y} ${HEIGHT - 2}`);
      path.setAttribute("class", kind);
      path.dataset.link = key(link);
      return Object.assign(path, { at: link, kind });
    });
    svg.replaceChildren(...paths);
    boxes.forEach((side, s) => side.forEach((box, i) => box.classList.toggle("bare", !paths.some((path) => path.kind !== "missing" && path.at[s] === i))));
    $("layer-name").textContent = layers[+$("layer").value];
    const n = (kind) => paths.filter((path) => path.kind === kind).length, all = found().links[k].length;
    $("said").textContent = `${all} ${all === 1 ? "link" : "links"}` + (data.gold ? `: ${n("right")} right, ${n("wrong")} wrong; of the sure ones ${n("missing")} missing` : "");
    document.body.dataset.ready = "yes";
  }
  function pick(side, i) {
    const chosen = i < 0 ? [] : paths.filter((path) => path.at[side] === i);
    $("links").classList.toggle("picked", i >= 0);
    for (const path of paths) path.classList.toggle("on", chosen.includes(path));
    boxes.forEach((of, s) => of.forEach((box, w) => box.classList.toggle("on", s === side ? w === i : chosen.some((path) => path.at[s] === w))));
  }
  function open() { words(+$("pair").value); draw(); }
  $("layer").max = layers.length - 1;
  $("layer").value = layers.indexOf(data.found[data.best].layer);
  $("method").replaceChildren(...methods.map((name) => make("option", name, { value: name })));
  $("method").value = data.found[data.best].method;
  $("of-layer").hidden = layers.length < 2;
  $("of-method").hidden = methods.length < 2;
  $("key").hidden = !data.gold;
  $("pair").parentElement.hidden = data.words.length < 2;
  $("pair").addEventListener("change", open);
  for (const id of ["layer", "method"]) $(id).addEventListener("input", draw);
  addEventListener("resize", draw);
  if (data.words.length) open();
})();
