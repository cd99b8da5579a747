// The page `/` as it works with a script: it follows the prediction and links findings to the case.
// Nothing of the case or the answer is read as HTML, put into an address, or stored.
"use strict";

const $ = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const field = (within, name) => $(`[data-f="${name}"]`, within);
const clone = (id) => $(`#${id}`).content.cloneNode(true).firstElementChild;
const LACK = "Lack of Fit Reasoning";
const URGENCIES = ["emergency", "urgent", "routine"];

const ask = $("#ask");
const place = $("#place");
const say = (text) => { $("#status").textContent = text; };
let leaving = null;

// --- asking ---------------------------------------------------------------------------

ask.addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = Object.fromEntries(new FormData(ask));
  const body = Object.fromEntries(Object.entries(given).filter(([, value]) => value));
  leaving?.abort();
  leaving = new AbortController();
  const here = leaving;
  busy(true);
  refuse(null);
  place.replaceChildren();
  say("Asking…");
  try {
    await follow(body, here.signal);
  } catch (error) {
    if (here.signal.aborted) {
      say("No longer waiting. The answer, once there, is kept on the server.");
    } else {
      say("");
      refuse(error.problem ?? {
        title: "No answer",
        detail: "The connection to the server ended before the answer.",
        advice: "See whether the server runs, then ask again.",
      });
    }
  } finally {
    if (here === leaving) busy(false);
  }
});

function busy(yes) {
  const button = $('[data-do="ask"]');
  button.disabled = yes;
  button.textContent = yes ? "Asking…" : "Get the differential";
  $('[data-do="stop"]').hidden = !yes;
  document.body.classList.toggle("busy", yes);
}

$('[data-do="stop"]').addEventListener("click", () => leaving?.abort());

async function follow(body, signal) {
  const response = await fetch("/predict/v1/stream", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw { problem: await response.json() };
  const shown = new Answer(body.case);
  let ended = false;
  for await (const [name, data] of events(response.body)) {
    if (name === "accepted") {
      shown.begin();
      say("Kept. Thinking…");
    } else if (name === "diagnosis") {
      const count = shown.tell(data);
      say(`${count} ${count === 1 ? "diagnosis" : "diagnoses"} so far…`);
    } else if (name === "final") {
      ended = true;
      shown.end(data);
    } else if (name === "error") {
      shown.root.remove();
      throw { problem: data };
    }
  }
  if (!ended) throw new Error("the stream was cut");
}

// Yields [name, data] of each server-sent event.
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n");
      const of = (key) => lines.find((line) => line.startsWith(key))?.slice(key.length);
      const data = of("data: ");
      if (data) yield [of("event: "), JSON.parse(data)];
    }
  }
}

function refuse(problem) {
  const box = $("#problem");
  box.hidden = !problem;
  for (const name of ["title", "detail", "advice"]) {
    field(box, name).textContent = problem?.[name] ?? "";
  }
  field(box, "id").textContent = problem?.prediction_id ?? "";
}

// --- an answer ------------------------------------------------------------------------

class Answer {
  constructor(text) {
    this.root = clone("answer-form");
    this.letters = Array.from(text); // places are counted in characters, not in UTF-16 units
    this.told = new Map();
    for (const one of all(".js", this.root)) one.hidden = false;
    for (const name of ["urgent", "questions", "missing"]) this.part(name).hidden = true;
    $(".feedback", this.root).hidden = true;
    this.part("case").textContent = text;
  }

  part(name) { return field(this.root, name); }

  begin() {
    this.root.classList.add("waiting");
    place.replaceChildren(this.root);
    wire(this.root);
  }

  tell(data) {
    this.told.set(data.rank, data);
    this.list([...this.told.values()].sort((a, b) => a.rank - b.rank));
    return this.told.size;
  }

  list(result) {
    this.part("cards").replaceChildren(...result.map(card));
    mark(this.root, this.letters);
  }

  end(reply) {
    const data = reply.data;
    this.root.classList.remove("waiting");
    this.root.dataset.prediction = reply.prediction_id;
    this.list(data.result);
    const first = data.result.filter((one) => one.urgency === "emergency");
    fill(this.part("urgent"), first, (one, item) => {
      const link = document.createElement("a");
      link.href = `#d${one.rank}`;
      link.textContent = one.diagnosis;
      item.append(link);
    });
    const numbered = (lines) => lines.flatMap((line) => Object.values(line));
    fill(this.part("questions"), numbered(data.further_questions));
    fill(this.part("missing"), data.missing_information);
    this.part("conclusion").textContent = data.conclusion;
    this.part("disclaimer").textContent = data.disclaimer;
    this.part("id").textContent = reply.prediction_id;
    this.part("model").textContent = reply.model_name;
    const answered = data.outcome === "answered";
    this.part("heading").textContent = answered ? "Differential diagnosis" : "Too little to go by";
    const form = this.part("feedback");
    form.elements.prediction_id.value = reply.prediction_id;
    for (const one of data.result) {
      form.elements.suggestion.add(new Option(`${one.rank}. ${one.diagnosis}`, one.rank));
    }
    $(".feedback", this.root).hidden = false;
    ask.hidden = true;
    const count = data.result.length;
    say(answered ? `Done: ${count} ${count === 1 ? "diagnosis" : "diagnoses"}.` : "Done.");
    this.part("heading").focus({ preventScroll: true });
    window.scrollTo({ top: 0 });
  }
}

function fill(section, values, put = (value, item) => { item.textContent = value; }) {
  section.hidden = !values.length;
  const items = values.map((value) => {
    const item = document.createElement("li");
    put(value, item);
    return item;
  });
  $("ul, ol", section).replaceChildren(...items);
}

function card(one) {
  const item = clone("diagnosis-form");
  item.id = `d${one.rank}`;
  item.dataset.urgency = one.urgency ?? "";
  item.dataset.rank = one.rank;
  for (const name of ["rank", "diagnosis", "likelihood", "urgency"]) {
    field(item, name).textContent = one[name] ?? "";
  }
  field(item, "urgency").hidden = !one.urgency;
  $(".likelihood", item).dataset.level = one.likelihood;
  const share = one.probability;
  field(item, "probability").textContent = share === null ? "" : `${Math.round(share * 100)} %`;
  const words = one.rationale.flatMap(Object.entries);
  const lack = words.filter(([name]) => name === LACK).map(([, text]) => text).join(" ");
  for (const kind of ["supporting", "contradicting"]) {
    const section = field(item, kind);
    const more = kind === "contradicting" ? lack : "";
    section.hidden = !one[kind].length && !more;
    field(section, "lack").textContent = more;
    $("ul", section).replaceChildren(...one[kind].map(evidence));
  }
  fill(field(item, "next_steps"), one.next_steps);
  const reasons = field(item, "rationale");
  reasons.hidden = !one.rationale.length;
  $("div", reasons).replaceChildren(...words.filter(([name]) => name !== LACK).map(([name, text]) => {
    const line = document.createElement("p");
    const head = document.createElement("strong");
    head.textContent = name;
    line.append(head, ` ${text}`);
    return line;
  }));
  field(item, "codes").replaceChildren(...one.codes.map((code) => {
    const chip = document.createElement("span");
    const value = document.createElement("b");
    chip.className = "code";
    value.textContent = code.code;
    chip.append(code.code.startsWith(code.system) ? "" : `${code.system} `, value);
    return chip;
  }));
  return item;
}

function evidence(one) {
  const item = clone("evidence-form");
  const button = $("button", item);
  field(item, "finding").textContent = one.finding;
  button.dataset.start = one.start ?? "";
  button.dataset.end = one.end ?? "";
  return item;
}

// --- findings in the case --------------------------------------------------------------

// Cuts the case at the ends of all quotes, so that they may overlap.
function mark(root, letters) {
  const spans = all(".evidence", root).filter((one) => one.dataset.start !== "")
    .map((one) => [Number(one.dataset.start), Number(one.dataset.end)]);
  const cuts = [...new Set([0, letters.length, ...spans.flat()])].sort((a, b) => a - b);
  const pieces = cuts.slice(0, -1).map((start, place) => {
    const end = cuts[place + 1];
    const text = letters.slice(start, end).join("");
    if (!spans.some(([a, b]) => a <= start && end <= b)) return text;
    const piece = document.createElement("mark");
    piece.textContent = text;
    piece.dataset.start = start;
    piece.dataset.end = end;
    return piece;
  });
  field(root, "case").replaceChildren(...pieces);
  field(root, "markhint").hidden = !spans.length;
}

const inside = (piece, [start, end]) => start <= piece.dataset.start && piece.dataset.end <= end;
const span = (one) => [Number(one.dataset.start), Number(one.dataset.end)];

function light(root, buttons) {
  const lit = buttons.filter((one) => one.dataset.start !== "");
  for (const piece of all("mark", root)) {
    const mine = lit.filter((one) => inside(piece, span(one)));
    piece.classList.toggle("on", mine.some((one) => one.closest(".supporting")));
    piece.classList.toggle("against", mine.some((one) => one.closest(".contradicting")));
  }
  const pane = field(root, "case");
  const first = $("mark.on, mark.against", pane);
  if (first && pane.scrollHeight > pane.clientHeight) {
    pane.scrollTop = first.offsetTop - pane.offsetTop - pane.clientHeight / 3;
  }
}

function wire(root) {
  const results = $(".results", root);
  const shows = (event) => {
    const button = event.target.closest(".evidence");
    const whole = event.target.closest(".card");
    light(root, button ? [button] : whole ? all(".evidence", whole) : []);
  };
  results.addEventListener("mouseover", shows);
  results.addEventListener("focusin", shows);
  results.addEventListener("click", shows); // fingers
  results.addEventListener("mouseleave", () => light(root, []));
  const pane = field(root, "case");
  pane.addEventListener("mouseover", (event) => {
    const piece = event.target.closest("mark");
    for (const one of all(".evidence", root)) {
      one.classList.toggle("on", Boolean(piece && one.dataset.start !== "" && inside(piece, span(one))));
    }
  });
  pane.addEventListener("mouseleave", () => all(".evidence.on", root).forEach((one) => one.classList.remove("on")));
  $('[data-do="edit"]', root).addEventListener("click", () => {
    ask.hidden = false;
    $("#case").focus();
  });
  $('[data-do="print"]', root).addEventListener("click", () => window.print());
  $('[data-do="order"]', root).addEventListener("change", (event) => order(root, event.target.value));
  field(root, "feedback").addEventListener("submit", (event) => {
    event.preventDefault();
    send(event.target, said(event.target));
  });
  $('[data-do="problem"]', root).addEventListener("click", (event) => report(event.target.form));
}

function order(root, by) {
  const urgency = (item) => (URGENCIES.indexOf(item.dataset.urgency) + URGENCIES.length + 1) % (URGENCIES.length + 1);
  const rank = (item) => Number(item.dataset.rank);
  const cards = all(".card", root);
  cards.sort((a, b) => (by === "urgency" ? urgency(a) - urgency(b) : 0) || rank(a) - rank(b));
  field(root, "cards").append(...cards);
}

// --- feedback --------------------------------------------------------------------------

function said(form) {
  const { outcome, suggestion, true_diagnosis, comment } = form.elements;
  const body = { true_diagnosis: true_diagnosis.value, comment: comment.value };
  if (outcome.value) body.outcome = outcome.value;
  if (suggestion.value) body.acceptedSuggestions = [{ id: suggestion.value }];
  return body;
}

function report(form) {
  const comment = form.elements.comment;
  if (!comment.value.trim()) {
    field(form, "said").textContent = "Say in the comment what is wrong, then press it again.";
    comment.focus();
    return;
  }
  const reason = { code: "problem", system: "urn:ddx:feedback", display: "Problem reported" };
  send(form, { outcome: "overridden", overrideReason: { reason, userComment: comment.value } });
}

async function send(form, body) {
  const words = field(form, "said");
  words.textContent = "Sending…";
  try {
    const id = encodeURIComponent(form.elements.prediction_id.value);
    const response = await fetch(`/predictions/${id}/feedback`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...body, outcomeTimestamp: new Date().toISOString() }),
    });
    const reply = await response.json();
    if (response.ok) {
      words.textContent = "Thank you: your feedback is kept.";
    } else if (response.status === 422) {
      words.textContent = "Choose accepted or rejected, name the true diagnosis, or comment.";
    } else {
      words.textContent = `${reply.detail} ${reply.advice}`;
    }
  } catch {
    words.textContent = "Not sent: the server was not reached. Try again.";
  }
}

// --- the form --------------------------------------------------------------------------

for (const link of all(".examples a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    $("#case").value = link.dataset.case;
    $("#case").focus();
  });
}

$("#case").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask.requestSubmit();
});

const model = ask.elements.model_name;
const prompts = () => {
  const asked = model.selectedOptions[0]?.dataset.llm;
  ask.elements.prompt_version.disabled = !asked; // the embedded engine has no prompt
};
model.addEventListener("change", prompts);
prompts();

window.addEventListener("beforeprint", () => all("details").forEach((one) => { one.open = true; }));
// A page that comes back from the browser's memory shows no one's case.
window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });
