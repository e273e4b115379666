// The table of all clips: fifty rows at a time of data that the page holds as JSON, sorted and filtered.
// Text enters the page through textContent alone, so that none of it can become markup.
"use strict";
(() => {
  const data = document.getElementById("clips-data");
  if (!data) return;
  const clips = JSON.parse(data.textContent);
  const details = document.getElementById("clips");
  const controls = document.getElementById("clips-controls");
  const scroll = details.querySelector(".scroll");
  const body = scroll.querySelector("tbody");
  const heads = [...scroll.querySelectorAll("th")];
  const STEP = 50;
  const filters = []; // functions of a clip
  let sorting = null; // {key, isNumber, direction}
  let found = [];
  let shown = 0;

  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  // Controls

  const status = element("span", { className: "note" });
  status.setAttribute("role", "status");
  const more = element("button", { type: "button", className: "more" });

  const searchField = () => {
    const field = element("input", { type: "search", placeholder: "Words, file or speaker" });
    field.setAttribute("aria-label", "Filter by words, file or speaker");
    const haystacks = new Map();
    const haystack = (clip) => {
      if (!haystacks.has(clip)) {
        const words = clip.diff.flatMap((piece) => piece.slice(1));
        haystacks.set(clip, [clip.audio, clip.speaker || "", ...words].join(" ").toLowerCase());
      }
      return haystacks.get(clip);
    };
    filters.push((clip) => haystack(clip).includes(field.value.trim().toLowerCase()));
    let timer = 0;
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(update, 150);
    });
    return field;
  };

  const choice = (key, title) => {
    const values = [...new Set(clips.map((clip) => clip[key]))].sort();
    if (values.length < 2) return "";
    const select = element("select", {}, element("option", { value: "-1" }, title));
    values.forEach((value, index) => select.append(element("option", { value: index }, value ?? "unknown")));
    select.setAttribute("aria-label", title);
    filters.push((clip) => select.value === "-1" || clip[key] === values[select.value]);
    select.addEventListener("change", update);
    return select;
  };

  const errorsOnly = () => {
    const box = element("input", { type: "checkbox" });
    filters.push((clip) => !box.checked || clip.errors > 0);
    box.addEventListener("change", update);
    return element("label", {}, box, " with errors only");
  };

  // Rows

  const diff = (clip) => {
    const text = element("div", { className: "diff", dir: "auto", lang: clip.language || "" });
    for (const [op, reference, hypothesis] of clip.diff) {
      if (op === "=") text.append(reference, " ");
      else {
        if (reference) text.append(element("del", {}, reference), " ");
        if (hypothesis) text.append(element("ins", {}, hypothesis), " ");
      }
    }
    return text;
  };

  const percent = (rate) => {
    const value = 100 * rate;
    return `${value === 0 || value === 100 ? value : value.toFixed(value < 9.995 ? 2 : 1)}\u00a0%`;
  };

  const cells = {
    audio: (clip) => element("bdi", {}, clip.audio),
    language: (clip) => clip.language ?? "–",
    wer: (clip) => (clip.wer === null ? "–" : percent(clip.wer)),
    errors: (clip) => clip.errors.toLocaleString("en"),
    words: (clip) => clip.words.toLocaleString("en"),
    duration: (clip) => clip.duration.toFixed(1),
    rtf: (clip) => (clip.rtf === null ? "–" : clip.rtf.toPrecision(2)),
    diff,
  };

  const row = (clip) => {
    const made = element("tr", {});
    for (const head of heads) {
      const key = head.dataset.key;
      const cell = element(key === "audio" ? "th" : "td", {}, cells[key](clip));
      if (key === "audio") cell.scope = "row";
      made.append(cell);
    }
    return made;
  };

  const showMore = () => {
    body.append(...found.slice(shown, shown + STEP).map(row));
    shown = Math.min(shown + STEP, found.length);
    more.hidden = shown === found.length;
    more.textContent = `Show ${Math.min(STEP, found.length - shown)} more`;
    status.textContent = `${shown.toLocaleString("en")} of ${found.length.toLocaleString("en")} shown`;
  };

  function update() {
    found = clips.filter((clip) => filters.every((accepts) => accepts(clip)));
    if (sorting) {
      const { value, direction } = sorting;
      found.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === null || y === null) return (x === null) - (y === null); // what has no value comes last
        return direction * (x < y ? -1 : x > y ? 1 : 0);
      });
    }
    body.replaceChildren();
    shown = 0;
    showMore();
  }

  // Order

  const text = (clip) => clip.diff.map((piece) => piece.slice(1).join(" ")).join(" ");

  for (const head of heads) {
    const key = head.dataset.key;
    head.querySelector("button").addEventListener("click", () => {
      const isDescending = head.ariaSort === "none" ? "number" in head.dataset : head.ariaSort === "ascending";
      for (const other of heads) other.ariaSort = "none";
      head.ariaSort = isDescending ? "descending" : "ascending";
      sorting = { value: key === "diff" ? text : (clip) => clip[key], direction: isDescending ? -1 : 1 };
      update();
    });
  }

  more.addEventListener("click", showMore);
  const build = () => {
    const choices = [
      choice("language", "Every language"),
      choice("subset", "Every subset"),
      choice("task", "Every task"),
      choice("dataset", "Every data set"),
    ];
    controls.replaceChildren(searchField(), ...choices, errorsOnly(), status);
    scroll.hidden = false;
    scroll.after(more);
    update();
  };

  if (details.open) build(); // a browser may open what was open before
  else details.addEventListener("toggle", build, { once: true });
})();
