// People are hostile input: their text enters the page as text alone (`append`, `textContent`, `value`).

const FIELDS = {
  firstname: "First name",
  lastname: "Last name",
  company: "Company",
  customerType: "Type",
  customerRef: "Reference",
  gender: "Gender",
  lang: "Language",
  country: "Country",
  street: "Street",
  houseNumber: "No.",
  postalCode: "Postal code",
  city: "City",
};
const TEXTS = { otherContactDetails: "Other contact details", aiDocumentation: "Context for the AI" };
const TITLES = { endUserID: "ID", name: "Name", uid: "UID", ...FIELDS };
const COLUMNS = [
  "endUserID", "name", "uid", "company", "customerType", "customerRef", "country", "city", "postalCode", "street",
  "houseNumber", "lang", "gender", "firstname", "lastname",
];
const LIST_QUERY = ["pageNumber", "pageSize", "sortBy", "sortOrder", "search"];
const TYPING_PAUSE_MS = 150;
const CALLS_KEPT = 50;

const tokens = new Map();
let pasted = "";
let tenant = "";
/** Ends with the view: what still arrives for it is dropped. */
let view = new AbortController();
/** Ends with the page of tickets. */
let turning = new AbortController();
/** What the form shows: the `values` that were filled in, and of a person that is there its `path` and `tag`. */
let shown = null;
let lastPlace = null;
/** What the next view says first. */
let said = "";
let typing;

const $ = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// ---- calls

class Fault extends Error {
  constructor(status, problem) {
    super(`${status}: ${problem?.detail ?? problem?.title ?? problem?.message ?? "no more is said"}`);
    this.status = status;
    this.errors = problem?.errors ?? {};
  }
}

function explain(fault, errors = Object.entries(fault.errors ?? {})) {
  return [fault.message, ...errors.map(([path, messages]) => `${path}: ${messages.join("; ")}`)].join("\n");
}

async function call(method, path, { body, headers, signal } = {}) {
  const begun = performance.now();
  const token = tokens.get(tenant) ?? pasted;
  const type = body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await fetch(path, { method, body, signal, headers: { Authorization: `Bearer ${token}`, ...type, ...headers } });
  const text = await response.text();
  signal?.throwIfAborted();
  logCall(`${method} ${path}`, response, performance.now() - begun);
  const answer = text ? JSON.parse(text) : null;
  if (!response.ok) throw new Fault(response.status, answer);
  return { answer, tag: response.headers.get("ETag") };
}

function logCall(request, response, ms) {
  const timing = /dur=([\d.]+);desc="rtt=(\S+) rru=(\S+) wru=(\S+)"/.exec(response.headers.get("Server-Timing") ?? "");
  const [, db = "", rtt = "", rru = "", wru = ""] = timing ?? [];
  const figures = [response.status, ms.toFixed(1), db, rtt, rru, wru].map((figure) => make("td", {}, String(figure)));
  const what = make("th", { scope: "rowgroup", colSpan: figures.length }, request);
  const log = $("calls");
  log.tHead.after(make("tbody", {}, make("tr", {}, what), make("tr", {}, ...figures)));
  if (log.tBodies.length > CALLS_KEPT) log.tBodies[CALLS_KEPT].remove();
}

// ---- places: the hash says what is shown

function place() {
  const [path, query] = location.hash.slice(1).split("?");
  return { path: path || "/", query: new URLSearchParams(query) };
}

function link(path, query = {}) {
  const kept = Object.entries({ tenant, ...query }).filter(([, value]) => value);
  return `#${path}?${new URLSearchParams(kept)}`;
}

function changed(changes) {
  const { path, query } = place();
  return link(path, { ...Object.fromEntries(query), ...changes });
}

async function show({ keepEdits = false } = {}) {
  view.abort();
  clearTimeout(typing);
  view = new AbortController();
  const { signal } = view;
  const { path, query } = place();
  chooseTenant(query.get("tenant"));
  const id = /^\/people\/(\d+)$/.exec(path)?.[1];
  const moved = lastPlace !== `${tenant} ${path}`;
  const first = lastPlace === null;
  lastPlace = `${tenant} ${path}`;
  $("problem").textContent = "";
  $("notice").textContent = said;
  said = "";
  $("list").hidden = Boolean(id) || path === "/new";
  if (moved) {
    $("person").hidden = true;
    $("assign").reset();
    clearFaults($("assign"));
  }
  try {
    if (tenant === "pasted" && !pasted) throw new Error("Paste a token to begin.");
    if (id) await showPerson(id, signal, keepEdits);
    else if (path === "/new") showNew();
    else await showList(query, signal);
  } catch (fault) {
    if (signal.aborted) return;
    if (!$("list").hidden) {
      fillRows("people", []);
      turnPeople(null, query.get("pageSize"), { totalCount: 0, totalPages: 0 });
    }
    $("problem").textContent = explain(fault);
  }
  // Whoever types or chooses by now is not disturbed.
  const idle = document.activeElement.matches("body, a, button");
  if (moved && !first && idle) document.querySelector("main > section:not([hidden]) h1")?.focus();
}

function chooseTenant(wanted) {
  const [first = "pasted"] = tokens.keys();
  tenant = wanted === null || tokens.has(wanted) ? (wanted ?? first) : "pasted";
  $("tenant").value = tenant;
  $("paste").hidden = tenant !== "pasted";
  $("home").href = link("/");
  $("new").href = link("/new");
}

// ---- the list

async function showList(query, signal) {
  document.title = "People";
  $("search").value = query.get("search") ?? "";
  const asked = LIST_QUERY.filter((name) => query.get(name)).map((name) => [name, query.get(name)]);
  const sortBy = query.get("sortBy") || "endUserID";
  const order = query.get("sortOrder") === "desc" ? "descending" : "ascending";
  for (const cell of $("people").tHead.rows[0].cells) cell.ariaSort = cell.dataset.field === sortBy ? order : null;
  $("people").ariaBusy = "true";
  const list = asked.length ? `/api/EndUsers?${new URLSearchParams(asked)}` : "/api/EndUsers";
  const { answer } = await call("GET", list, { signal }).finally(() => signal.aborted || ($("people").ariaBusy = null));
  fillRows("people", answer.items.map(personRow));
  turnPeople(query.get("pageNumber"), query.get("pageSize"), answer);
}

function personRow(person) {
  const uid = person.uids.find(({ isPrimary }) => isPrimary) ?? person.uids[0];
  const texts = { ...person, uid: uid?.uid };
  const to = () => make("a", { href: link(`/people/${person.endUserID}`) }, person.name || "(no name)");
  const cells = COLUMNS.map((field) => {
    const text = String(texts[field] ?? "");
    if (field === "name") return make("th", { scope: "row", title: text }, to());
    return make("td", { title: text, className: field === "endUserID" ? "number" : "" }, text);
  });
  return make("tr", {}, ...cells);
}

function fillRows(table, rows) {
  $(table).tBodies[0].replaceChildren(...rows);
}

function sortBy(field) {
  const { query } = place();
  const again = (query.get("sortBy") || "endUserID") === field && query.get("sortOrder") !== "desc";
  turn({ sortBy: field, sortOrder: again ? "desc" : "asc", pageNumber: "" });
}

/** Shows another page or order of the list, of what is typed by now. */
function turn(changes) {
  const search = $("search").value;
  const typed = search !== (place().query.get("search") ?? "");
  location.hash = changed({ ...changes, search, ...(typed && { pageNumber: "" }) });
}

function searchNow() {
  history.replaceState(null, "", changed({ search: $("search").value, pageNumber: "" }));
  show();
}

/** Fills a pager, and answers what shows where it stands. */
function pager(nav, [one, many], turn) {
  nav.append($("pages").content.cloneNode(true));
  const control = (name) => nav.querySelector(`[name=${name}]`);
  let [page, last] = [1, 1];
  nav.addEventListener("click", ({ target }) => {
    const to = { first: 1, previous: Math.min(page - 1, last), next: page + 1, last }[target.name];
    if (to && target.ariaDisabled !== "true") turn({ pageNumber: to });
  });
  control("number").addEventListener("change", ({ target }) => turn({ pageNumber: target.value }));
  control("size").addEventListener("change", ({ target }) => turn({ pageNumber: "", pageSize: target.value }));
  return (number, size, { totalCount, totalPages }) => {
    [page, last] = [Number(number) || 1, Math.max(totalPages, 1)];
    control("number").value = page;
    control("size").value = size || 10;
    nav.querySelector("span").textContent = `of ${last}`;
    nav.querySelector("output").textContent = `${totalCount.toLocaleString("en")} ${totalCount === 1 ? one : many}`;
    // Not `disabled`, which would take the focus away.
    for (const name of ["first", "previous"]) control(name).ariaDisabled = String(page <= 1);
    for (const name of ["next", "last"]) control(name).ariaDisabled = String(page >= last);
  };
}

// ---- one person

async function showPerson(id, signal, keepEdits) {
  const path = `/api/EndUsers/${id}`;
  const [{ answer: person, tag }, { answer: tickets }] = await Promise.all([
    call("GET", path, { signal }),
    call("GET", `${path}/tickets`, { signal }),
  ]);
  fillProfile(person, keepEdits);
  shown = { ...shown, path, tag };
  fillRows("uids", person.uids.map(uidRow));
  fillTickets(tickets);
  showForm(`${person.name || "(no name)"} #${person.endUserID}`, false);
}

function showNew() {
  $("profile").reset();
  fillProfile({ customerType: "Lead" }, false);
  showForm("New person", true);
}

function showForm(title, isNew) {
  document.title = title;
  $("name").textContent = title;
  $("linked").hidden = $("delete").hidden = isNew;
  $("first-uid").hidden = $("first-uid").disabled = !isNew;
  $("reload").hidden = true;
  $("person").hidden = false;
}

function profileControls() {
  return [...Object.keys(FIELDS), ...Object.keys(TEXTS)].map((name) => $("profile").elements.namedItem(name));
}

/** An edit is kept where the record has not changed under it. */
function fillProfile(person, keepEdits) {
  const [was, values] = [keepEdits ? shown.values : {}, {}];
  for (const control of profileControls()) {
    const edit = control.value;
    control.value = person[control.name] ?? "";
    // As the control has it: a control may not hold every text.
    values[control.name] = control.value;
    if (edit !== was[control.name] && values[control.name] === was[control.name]) control.value = edit;
  }
  clearFaults($("profile"));
  shown = { values };
}

/** What was edited, and only that: a control changes what it cannot hold. */
function edits() {
  const edited = profileControls().filter((control) => control.value !== shown.values[control.name]);
  return Object.fromEntries(edited.map((control) => [control.name, control.value]));
}

function uidRow({ endUserUIDID, uidType, uid, isPrimary }) {
  const remove = make("button", { type: "button", ariaLabel: `Remove ${uid}` }, "Remove");
  remove.addEventListener("click", () => attempt($("assign"), () => removeUid(endUserUIDID)));
  const cells = [uidType, uid, isPrimary ? "yes" : "", String(endUserUIDID), remove];
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}

function ticketRow(ticket) {
  const when = make("time", { dateTime: ticket.lastMessageDate }, ticket.lastMessageDate.slice(0, 16).replace("T", " "));
  const { ticketID, subject, status, channelType, uid, topics } = ticket;
  const cells = [String(ticketID), subject ?? "", status ?? "", channelType ?? "", uid, when, topics.join(", ")];
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}

function fillTickets(tickets, { pageNumber, pageSize } = {}) {
  fillRows("tickets", tickets.items.map(ticketRow));
  turnTickets(pageNumber, pageSize, tickets);
}

/** Not a place of its own: going there would read the person anew. */
async function pageOfTickets(change) {
  turning.abort();
  turning = new AbortController();
  const signal = AbortSignal.any([view.signal, turning.signal]);
  const pageSize = change.pageSize ?? document.querySelector("#linked [name=size]").value;
  const query = { pageNumber: change.pageNumber || 1, pageSize };
  try {
    const { answer } = await call("GET", `${shown.path}/tickets?${new URLSearchParams(query)}`, { signal });
    fillTickets(answer, query);
  } catch (fault) {
    if (!signal.aborted) $("problem").textContent = explain(fault);
  }
}

// ---- writing

/** Does what a form asks for, then what follows from it, unless the user is elsewhere by then. One write at a time. */
async function attempt(form, act) {
  const [here, focused] = [view, document.activeElement];
  const enable = (enabled) => $("person").querySelectorAll("button").forEach((button) => (button.disabled = !enabled));
  enable(false);
  clearFaults(form);
  $("notice").textContent = "";
  try {
    const then = await act();
    if (here === view) await then();
  } catch (fault) {
    if (here === view) showFaults(form, fault);
  }
  enable(true);
  if (document.activeElement === document.body) (focused.isConnected ? focused : $("name")).focus();
}

function clearFaults(form) {
  form.querySelectorAll(".fault").forEach((fault) => fault.remove());
  form.querySelectorAll("[aria-invalid]").forEach((control) => {
    control.ariaInvalid = null;
    control.removeAttribute("aria-describedby");
  });
  form.querySelector(".faults").textContent = "";
}

function showFaults(form, fault) {
  const rest = [];
  for (const [path, messages] of Object.entries(fault.errors ?? {})) {
    const control = form.elements.namedItem(path.replace("uids[0].", ""));
    if (control) markFault(form, control, messages.join("; "));
    else rest.push([path, messages]);
  }
  form.querySelector(".faults").textContent = explain(fault, rest);
  $("reload").hidden = fault.status !== 412;
  form.querySelector("[aria-invalid]")?.focus();
}

function markFault(form, control, text) {
  const id = `${form.id}-${control.name}-fault`;
  control.closest("label").after(make("span", { className: "fault", id }, text));
  control.ariaInvalid = "true";
  control.setAttribute("aria-describedby", id);
}

const sent = new WeakMap();

/** POSTs what a form says. Sent again unchanged, after an answer that got lost, it is not done again. */
async function postOnce(form, path, content) {
  const body = JSON.stringify(content);
  if (sent.get(form)?.body !== body) sent.set(form, { body, key: crypto.randomUUID() });
  const done = await call("POST", path, { body, headers: { "Idempotency-Key": sent.get(form).key } });
  sent.delete(form);
  return done;
}

function uidOf(form) {
  const { uidType, uid, isPrimary } = form.elements;
  return { uidType: uidType.value, uid: uid.value, isPrimary: isPrimary.checked };
}

async function create() {
  const uid = uidOf($("profile"));
  const { answer } = await postOnce($("profile"), "/api/EndUsers", { ...edits(), uids: uid.uid ? [uid] : [] });
  return () => {
    said = "Created.";
    location.replace(link(`/people/${answer.endUserID}`));
  };
}

async function update(content, message) {
  const { path, tag, values } = shown;
  await call("PUT", path, { body: JSON.stringify(content), headers: { "If-Match": tag } });
  // What is typed from here on is an edit of what was just written.
  Object.assign(values, content);
  return () => reread(message);
}

const removeUid = (endUserUIDID) => update({ uids: [{ endUserUIDID, markAsDeleted: true }] }, "Removed.");

function reread(message) {
  said = message;
  return show({ keepEdits: true });
}

async function remove() {
  await call("DELETE", shown.path, { headers: { "If-Match": shown.tag } });
  return () => {
    said = "Deleted.";
    location.replace(link("/"));
  };
}

async function assign() {
  const endUserID = Number(shown.path.split("/").pop());
  const { answer } = await postOnce($("assign"), "/api/EndUserUIDs/assign", { ...uidOf($("assign")), endUserID });
  return () => {
    $("assign").reset();
    return reread(answer.message ?? "Linked.");
  };
}

// ---- the page

function buildColumns() {
  const cells = COLUMNS.map((field) => {
    if (field === "uid") return make("th", { scope: "col" }, TITLES.uid);
    const button = make("button", { type: "button" }, TITLES[field]);
    button.addEventListener("click", () => sortBy(field));
    const cell = make("th", { scope: "col" }, button);
    cell.dataset.field = field;
    return cell;
  });
  $("people").tHead.rows[0].append(...cells);
}

function buildFields() {
  const types = ["Lead", "Customer", "Partner"].map((type) => make("option", {}, type));
  const control = (name) => (name === "customerType" ? make("select", { name }, ...types) : make("input", { name, autocomplete: "off" }));
  const field = (title, node) => make("div", {}, make("label", {}, `${title} `, node));
  const inputs = Object.entries(FIELDS).map(([name, title]) => field(title, control(name)));
  const areas = Object.entries(TEXTS).map(([name, title]) => field(title, make("textarea", { name, rows: 2 })));
  const [short, long] = $("profile").querySelectorAll(".fields");
  short.append(...inputs);
  long.append(...areas);
}

async function fetchTokens() {
  const response = await fetch("/local/tokens");
  for (const { tenant, token } of response.ok ? await response.json() : []) tokens.set(String(tenant), token);
  const options = [...tokens.keys()].map((tenant) => make("option", { value: tenant }, tenant));
  $("tenant").append(...options, make("option", { value: "pasted" }, "of a pasted token"));
}

function onSubmit(form, act) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act();
  });
}

buildColumns();
buildFields();
const turnPeople = pager($("list").querySelector(".pager"), ["person", "people"], turn);
const turnTickets = pager($("linked").querySelector(".pager"), ["ticket", "tickets"], pageOfTickets);
onSubmit($("find"), searchNow);
onSubmit($("profile"), () => attempt($("profile"), () => (shown.path ? update(edits(), "Saved.") : create())));
onSubmit($("assign"), () => attempt($("assign"), assign));
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(searchNow, TYPING_PAUSE_MS);
});
$("delete").addEventListener("click", () => {
  if (confirm(`Delete ${$("name").textContent}?`)) attempt($("profile"), remove);
});
$("reload").addEventListener("click", () => show());
$("tenant").addEventListener("change", ({ target }) => (location.hash = link("/", { tenant: target.value })));
$("pasted").addEventListener("change", ({ target }) => {
  pasted = target.value.trim();
  show();
});
addEventListener("hashchange", () => show());
await fetchTokens();
show();
