// The pages of `local`, used as a person uses them. Started by tests/browser/run.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

const { chromium } = createRequire(new URL("../../target/browser/", import.meta.url))("playwright-core");

const HERE = new URL(process.env.URL).origin;
const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
const PATIENCE_MS = 60_000;
/** A word of this run alone: the system may hold the people of others. */
const RUN = `run${Date.now().toString(36)}`;
const PEOPLE = "#people tbody th";

let browser;
let tokens;

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ARGUMENTS });
  const demo = await (await fetch(`${HERE}/local/tokens`)).json();
  tokens = new Map(demo.map(({ tenant, token }) => [tenant, token]));
});

after(() => browser?.close());

/** A test in a browser of its own; it fails too where a page complains, or asks for what is not here. */
function inBrowser(name, act, { skip = false, ...more } = {}) {
  test(name, { skip }, async () => {
    const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, locale: "en-GB", ...more });
    const wrong = [];
    await context.addInitScript(() => {
      addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => console.error("refused", violatedDirective, blockedURI));
    });
    context.on("console", (message) => isComplaint(message) && wrong.push(message.text()));
    context.on("weberror", (error) => wrong.push(String(error.error())));
    context.on("request", (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol !== "data:" && origin !== HERE) wrong.push(`asked for ${request.url()}`);
    });
    context.setDefaultTimeout(PATIENCE_MS);
    try {
      await act(await context.newPage());
      assert.deepEqual(wrong, []);
    } finally {
      await context.close();
    }
  });
}

/** That the API refused something is no complaint of the page's, though Chromium remarks on it. */
function isComplaint(message) {
  const remark = message.text().startsWith("Failed to load resource") && message.location().url.startsWith(`${HERE}/api/`);
  return ["error", "warning"].includes(message.type()) && !remark;
}

async function api(method, path, body, tenant = 7) {
  const headers = { Authorization: `Bearer ${tokens.get(tenant)}`, "Content-Type": "application/json" };
  const response = await fetch(HERE + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  return response.status === 204 ? null : response.json();
}

const create = (person) => api("POST", "/api/EndUsers", person);
const read = ({ endUserID }) => api("GET", `/api/EndUsers/${endUserID}`);
const update = ({ endUserID }, body) => api("PUT", `/api/EndUsers/${endUserID}`, body);

/** Until all that was written is indexed. */
async function settle() {
  assert.equal((await fetch(`${HERE}/local/settle`, { method: "POST" })).status, 204);
}

const open = (page, hash = "") => page.goto(`${HERE}/${hash}`);
const openPerson = (page, { endUserID }) => open(page, `#/people/${endUserID}`);
const field = (page, label, form = "#profile") => page.locator(form).getByLabel(label, { exact: true });
const token = (page) => page.getByRole("textbox", { name: "Token" });
const press = (page, name, within = "body") => page.locator(within).getByRole("button", { name, exact: true }).click();
const sends = (page, method, path) => page.waitForRequest((request) => request.method() === method && request.url().endsWith(path));

/** Waits until what a selector finds reads like this. */
async function reads(page, selector, ...expected) {
  const same = ([selector, expected]) => {
    const texts = Array.from(document.querySelectorAll(selector), (node) => node.textContent);
    return JSON.stringify(texts) === JSON.stringify(expected);
  };
  const late = async () => assert.deepEqual(await page.locator(selector).allTextContents(), expected);
  await page.waitForFunction(same, [selector, expected]).catch(late);
}

async function holds(page, label, value) {
  const same = ([name, value]) => document.querySelector(`#profile [name=${name}]`).value === value;
  const name = await field(page, label).getAttribute("name");
  await page.waitForFunction(same, [name, value]);
}

inBrowser(
  "the pages are fit to be seen",
  async (page) => {
    const shot = (name) => page.screenshot({ path: `${process.env.SCREENSHOTS}/${name}.png` });
    await open(page, "#/?search=jan+acme");
    await page.getByRole("link", { name: "Jane Doe" }).click();
    await page.locator("#tickets td").first().waitFor();
    await page.locator("#name").blur();
    await shot("console");
    await page.goto(`${HERE}/docs`);
    await page.locator(".execute").click();
    await page.locator(".live-responses-table").waitFor();
    await page.locator(".execute").evaluate((node) => scrollBy(0, node.getBoundingClientRect().top - 200));
    await shot("docs-page");
  },
  { skip: !process.env.SCREENSHOTS && "no --screenshots" },
);

inBrowser("the first request of the reference is one click away, with the demo token", async (page) => {
  await page.goto(`${HERE}/docs`);
  await reads(page, "#token", "Requests carry a token of the demo tenant 7.");
  await page.locator(".execute").click();
  const answer = page.locator("[id$=listEndUsers] .live-responses-table tbody");
  await answer.locator(".response-col_status", { hasText: "200" }).waitFor();
  await answer.locator(".highlight-code", { hasText: '"totalCount"' }).waitFor();
});

inBrowser("a person is created from the reference", async (page) => {
  await page.goto(`${HERE}/docs`);
  const operation = page.locator("[id$=createEndUser]");
  await operation.locator(".opblock-summary-control").click();
  const sent = page.waitForResponse((response) => response.request().method() === "POST");
  await operation.locator(".execute").click();
  const { endUserID } = await (await sent).json();
  await operation.locator(".live-responses-table .response-col_status", { hasText: "201" }).waitFor();
  assert.equal((await read({ endUserID })).endUserID, endUserID);
});

inBrowser("every operation of the reference opens", async (page) => {
  await page.goto(`${HERE}/docs`);
  await page.locator(".execute").waitFor();
  const closed = page.locator(".opblock:not(.is-open) .opblock-summary-control");
  while (await closed.count()) await closed.first().click();
  const { paths } = await (await fetch(`${HERE}/openapi.json`)).json();
  const operations = Object.values(paths).flatMap(Object.values).filter(({ operationId }) => operationId);
  assert.equal(await page.locator(".execute").count(), operations.length);
});

inBrowser("where there are no demo tokens, the reference says so and the console takes one", async (page) => {
  await page.route("**/local/tokens", (route) => route.fulfill({ json: [] }));
  await page.goto(`${HERE}/docs`);
  await reads(page, "#token", "There is no demo token here: paste one at Authorize.");
  await open(page);
  await reads(page, "#problem", "Paste a token to begin.");
  await token(page).fill("no.such.token");
  await token(page).press("Enter");
  await page.locator("#problem", { hasText: "401" }).waitFor();
  await reads(page, "#list output", "0 people");
  await token(page).fill(tokens.get(8));
  await token(page).press("Enter");
  await page.getByRole("link", { name: "Jane Doe" }).waitFor();
  await reads(page, "#problem", "");
});

inBrowser("a search narrows as it is typed, and asks once for what is typed at once", async (page) => {
  await create({ firstname: `Ann${RUN}`, lastname: `Typed${RUN}` });
  await create({ firstname: `Anton${RUN}`, lastname: `Typed${RUN}` });
  await settle();
  await page.clock.install();
  await open(page);
  await page.locator(PEOPLE).first().waitFor();
  // A time that the page cannot have reached when it hears of it.
  await page.clock.pauseAt(await page.evaluate(() => Date.now() + 3_600_000));
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).search));
  const type = async (text) => {
    await page.getByLabel("Search").pressSequentially(text);
    await page.clock.runFor(1000);
  };
  await type(`typed${RUN} an`);
  await reads(page, PEOPLE, `Ann${RUN} Typed${RUN}`, `Anton${RUN} Typed${RUN}`);
  await type("t");
  await reads(page, PEOPLE, `Anton${RUN} Typed${RUN}`);
  await reads(page, "#list output", "1 person");
  await page.getByLabel("Search").fill(`typed${RUN}`);
  await page.getByRole("button", { name: "Last name" }).click();
  await reads(page, PEOPLE, `Ann${RUN} Typed${RUN}`, `Anton${RUN} Typed${RUN}`);
  assert.equal(asked.pop(), `?sortBy=lastname&sortOrder=asc&search=typed${RUN}`);
  assert.deepEqual(asked, [`?search=typed${RUN}+an`, `?search=typed${RUN}+ant`]);
});

inBrowser("an answer that comes too late is dropped", async (page) => {
  await create({ firstname: "Slow", lastname: `Late${RUN}` });
  await create({ firstname: "Fast", lastname: `Late${RUN}` });
  await settle();
  await open(page);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route(/search=slow/, async (route) => {
    await held;
    await route.continue().catch(() => {});
  });
  const slow = page.waitForRequest(/search=slow/);
  await page.getByLabel("Search").fill(`slow late${RUN}`);
  const given = page.waitForEvent("requestfailed", async (request) => request === (await slow));
  await slow;
  await page.getByLabel("Search").fill(`fast late${RUN}`);
  await reads(page, PEOPLE, `Fast Late${RUN}`);
  assert.equal((await given).failure().errorText, "net::ERR_ABORTED");
  release();
  await reads(page, PEOPLE, `Fast Late${RUN}`);
});

inBrowser("the list is sorted by any field, both ways", async (page) => {
  const fields = [
    "endUserID", "name", "company", "customerType", "customerRef", "country", "city", "postalCode", "street", "houseNumber",
    "lang", "gender", "firstname", "lastname",
  ];
  const people = [
    { firstname: "Zoë", lastname: `Order${RUN}`, company: "B", customerType: "Customer", customerRef: "2", country: "NL", city: "Gent", gender: "f" },
    { firstname: "Abel", lastname: `Order${RUN} 2`, postalCode: "9", street: "A", houseNumber: "1", lang: "nl", city: "Aalst" },
    { firstname: "Mo", lastname: `Order${RUN} 1`, company: "A", postalCode: "10", street: "B", houseNumber: "2", lang: "fr", country: "BE" },
  ];
  for (const person of people) await create(person);
  await settle();
  await open(page, `#/?search=order${RUN}`);
  await page.locator(PEOPLE).nth(2).waitFor();
  const headers = page.locator("#people th[data-field]");
  assert.deepEqual(await headers.evaluateAll((cells) => cells.map((cell) => cell.dataset.field)), fields);
  for (const field of fields) {
    // The list opens sorted by id, so that its first click is the other way.
    for (const order of field === "endUserID" ? ["desc", "asc"] : ["asc", "desc"]) {
      const header = page.locator(`#people th[data-field=${field}]`);
      await header.getByRole("button").press("Enter");
      const { items } = await api("GET", `/api/EndUsers?search=order${RUN}&sortBy=${field}&sortOrder=${order}`);
      await reads(page, PEOPLE, ...items.map(({ name }) => name));
      assert.equal(await header.getAttribute("aria-sort"), `${order}ending`);
      assert.equal(await page.locator("#people [aria-sort]").count(), 1);
    }
  }
});

inBrowser("the list is paged, with totals, and the back button turns back", async (page) => {
  const name = (n) => `P${String(n).padStart(2, "0")} Paged${RUN}`;
  const shown = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => name(from + i));
  for (let n = 1; n <= 23; n++) await create({ firstname: name(n).slice(0, 3), lastname: `Paged${RUN}` });
  await settle();
  await open(page, `#/?search=paged${RUN}&sortBy=name`);
  await reads(page, PEOPLE, ...shown(1, 10));
  await reads(page, "#list output", "23 people");
  await reads(page, "#list .pager span", "of 3");
  await press(page, "Next", "#list");
  await reads(page, PEOPLE, ...shown(11, 20));
  await press(page, "Last", "#list");
  await reads(page, PEOPLE, ...shown(21, 23));
  assert.equal(await page.locator("#list").getByRole("button", { name: "Next" }).getAttribute("aria-disabled"), "true");
  await press(page, "Previous", "#list");
  await reads(page, PEOPLE, ...shown(11, 20));
  await press(page, "First", "#list");
  await reads(page, PEOPLE, ...shown(1, 10));
  await page.locator("#list").getByRole("spinbutton", { name: "Page" }).fill("3");
  await page.locator("#list").getByRole("spinbutton", { name: "Page" }).press("Enter");
  await reads(page, PEOPLE, ...shown(21, 23));
  await page.goBack();
  await reads(page, PEOPLE, ...shown(1, 10));
  await page.locator("#list").getByLabel("Rows").selectOption("25");
  await reads(page, PEOPLE, ...shown(1, 23));
});

inBrowser("a person, the UIDs and the tickets are on one screen that has an address", async (page) => {
  await open(page, "#/?search=jane+acme");
  await page.getByRole("link", { name: "Jane Doe" }).click();
  const seen = async () => {
    await holds(page, "Company", "Acme NV");
    await reads(page, "#uids td:nth-child(2)", "jane@example.com", "+32470000000", "32470000001");
    const subjects = ["Change of address", "Where is my parcel?", "Call me back about the delivery", "Invoice 2026-118 was charged twice"];
    await reads(page, "#tickets td:nth-child(2)", ...subjects);
    await reads(page, "#linked output", "4 tickets");
  };
  await seen();
  assert.equal(await page.evaluate(() => document.activeElement.id), "name", "the heading has the focus");
  await page.reload();
  await seen();
  await page.goBack();
  await reads(page, PEOPLE, "Jane Doe");
  assert.equal(await page.getByLabel("Search").inputValue(), "jane acme");
});

inBrowser("tickets are paged beside what is being edited", async (page) => {
  const uid = `${RUN}@tickets.test`;
  const person = await create({ firstname: "Many", uids: [{ uid }] });
  const events = Array.from({ length: 12 }, (_, i) => {
    const date = `2026-11-${10 + i}T09:00:00Z`;
    const ticket = { ticketID: (Date.now() % 1_000_000_000) + i, uid, subject: `S${10 + i}`, dateCreated: date, lastMessageDate: date };
    return JSON.stringify({ type: "ticket.upserted", customerID: 7, occurredAt: date, ticket });
  });
  const headers = { "Content-Type": "application/x-ndjson" };
  assert.equal((await fetch(`${HERE}/local/ticket-events`, { method: "POST", headers, body: events.join("\n") })).status, 202);
  await settle();
  await openPerson(page, person);
  await reads(page, "#tickets td:nth-child(2)", "S21", "S20", "S19", "S18", "S17", "S16", "S15", "S14", "S13", "S12");
  await field(page, "City").fill("Gent");
  await press(page, "Next", "#linked");
  await reads(page, "#tickets td:nth-child(2)", "S11", "S10");
  assert.equal(await field(page, "City").inputValue(), "Gent");
});

inBrowser("each call shows what it cost", async (page) => {
  const [response] = await Promise.all([page.waitForResponse(`${HERE}/api/EndUsers`), open(page)]);
  const [, ...cost] = /dur=(.+);desc="rtt=(.+) rru=(.+) wru=(.+)"/.exec(await response.headerValue("server-timing"));
  await reads(page, "#calls tbody th", "GET /api/EndUsers");
  const [status, ms, ...figures] = await page.locator("#calls tbody td").allTextContents();
  assert.deepEqual([status, ...figures], ["200", ...cost]);
  assert.match(ms, /^\d+\.\d$/);
});

inBrowser("a fault stands at its field, and mended the person is created", async (page) => {
  await open(page, "#/new");
  await field(page, "First name").fill(`New${RUN}`);
  await field(page, "Country").fill("Belgium");
  await field(page, "Value").fill("not an address");
  await press(page, "Save");
  for (const label of ["Country", "Value"]) {
    const control = field(page, label);
    await page.locator(`#${await control.getAttribute("name").then((name) => `profile-${name}-fault`)}`).waitFor();
    assert.equal(await control.getAttribute("aria-invalid"), "true");
    assert.notEqual(await control.evaluate((node) => document.getElementById(node.getAttribute("aria-describedby")).textContent), "");
  }
  assert.equal(await page.locator("#profile .fault").count(), 2);
  assert.equal(await page.evaluate(() => document.activeElement.name), "country");
  await field(page, "Country").fill("be");
  await field(page, "Value").fill(`new.${RUN}@example.com`);
  await press(page, "Save");
  await reads(page, "#notice", "Created.");
  await holds(page, "Country", "BE");
  await reads(page, "#uids td:nth-child(2)", `new.${RUN}@example.com`);
  assert.equal(await page.locator("#profile .fault").count(), 0);
});

inBrowser("sent again after its answer got lost, a person is created once", async (page) => {
  await open(page, "#/new");
  const keys = [];
  await page.route("**/api/EndUsers", async (route) => {
    keys.push(await route.request().headerValue("idempotency-key"));
    const response = await route.fetch();
    await (keys.length === 1 ? route.abort() : route.fulfill({ response }));
  });
  await field(page, "First name").fill("Once");
  await field(page, "Last name").fill(`Only${RUN}`);
  await press(page, "Save");
  await page.locator("#profile .faults", { hasText: "fetch" }).waitFor();
  await press(page, "Save");
  await reads(page, "#notice", "Created.");
  assert.equal(keys[0], keys[1]);
  await settle();
  assert.equal((await api("GET", `/api/EndUsers?search=only${RUN}`)).totalCount, 1);
});

inBrowser("an edit sends what was edited, on the version that was read", async (page) => {
  const person = await create({ firstname: "Ed", lastname: RUN, otherContactDetails: "one\r\ntwo", company: "A" });
  const reading = page.waitForResponse(`${HERE}/api/EndUsers/${person.endUserID}`);
  await openPerson(page, person);
  const tag = await (await reading).headerValue("etag");
  await field(page, "City").fill("Gent");
  await field(page, "Company").fill("");
  const [request] = await Promise.all([sends(page, "PUT", `/api/EndUsers/${person.endUserID}`), press(page, "Save")]);
  assert.deepEqual(request.postDataJSON(), { city: "Gent", company: "" });
  assert.equal(await request.headerValue("if-match"), tag);
  await reads(page, "#notice", "Saved.");
  const { city, company, otherContactDetails } = await read(person);
  assert.deepEqual([city, company, otherContactDetails], ["Gent", null, "one\r\ntwo"]);
  await page.locator("#profile").getByRole("combobox", { name: "Type" }).selectOption("Partner");
  await press(page, "Save");
  await reads(page, "#notice", "Saved.");
  assert.equal((await read(person)).customerType, "Partner");
});

inBrowser("who was changed meanwhile is not overwritten", async (page) => {
  const person = await create({ firstname: "Con", lastname: "Flict" });
  await openPerson(page, person);
  await holds(page, "Last name", "Flict");
  await update(person, { city: "Leuven" });
  await field(page, "City").fill("Gent");
  await press(page, "Save");
  await page.locator("#profile .faults", { hasText: "412" }).waitFor();
  assert.equal((await read(person)).city, "Leuven");
  page.on("dialog", (dialog) => dialog.accept());
  const refused = page.waitForResponse((response) => response.request().method() === "DELETE");
  await press(page, "Delete this person");
  assert.equal((await refused).status(), 412);
  await press(page, "Load it as it is now");
  await holds(page, "City", "Leuven");
  await field(page, "City").fill("Gent");
  await press(page, "Save");
  await reads(page, "#notice", "Saved.");
  assert.equal((await read(person)).city, "Gent");
});

inBrowser("a person is deleted when that is confirmed", async (page) => {
  const person = await create({ firstname: "Gone", lastname: RUN });
  await openPerson(page, person);
  await holds(page, "First name", "Gone");
  const deletes = [];
  page.on("request", (request) => request.method() === "DELETE" && deletes.push(request.url()));
  page.once("dialog", (dialog) => dialog.dismiss());
  await press(page, "Delete this person");
  page.once("dialog", (dialog) => dialog.accept());
  await press(page, "Delete this person");
  await reads(page, "#notice", "Deleted.");
  await page.locator(PEOPLE).first().waitFor();
  assert.equal(deletes.length, 1, "not when it was declined");
  await assert.rejects(read(person), /404/);
  await openPerson(page, person);
  await page.locator("#problem", { hasText: "404" }).waitFor();
  assert.equal(await page.locator("#person").isVisible(), false);
});

inBrowser("UIDs are linked and removed beside what is being edited", async (page) => {
  const person = await create({ firstname: "Linda", country: "BE" });
  await openPerson(page, person);
  await field(page, "City").fill("Gent");
  await field(page, "Type", "#assign").fill("Phone");
  await field(page, "Value", "#assign").fill("12");
  await press(page, "Link");
  await page.locator("#assign-uid-fault").waitFor();
  await field(page, "Value", "#assign").fill("0470 00 00 99");
  await field(page, "Primary", "#assign").check();
  await press(page, "Link");
  await reads(page, "#notice", "Linked.");
  await reads(page, "#uids td:nth-child(2)", "+32470000099");
  await reads(page, "#uids td:nth-child(3)", "yes");
  await field(page, "Type", "#assign").fill("Phone");
  await field(page, "Value", "#assign").fill("+32470000099");
  await press(page, "Link");
  await page.locator("#notice", { hasText: /already/i }).waitFor();
  await press(page, "Remove +32470000099");
  await reads(page, "#notice", "Removed.");
  await reads(page, "#uids td:nth-child(2)");
  assert.equal(await field(page, "City").inputValue(), "Gent");
  await press(page, "Save");
  await reads(page, "#notice", "Saved.");
  assert.equal((await read(person)).city, "Gent");
});

inBrowser("an unsaved edit gives way where the record itself was changed", async (page) => {
  const person = await create({ firstname: "Yield", city: "Gent", company: "A" });
  await openPerson(page, person);
  await field(page, "City").fill("Leuven");
  await field(page, "Company").fill("B");
  await update(person, { city: "Liège" });
  await field(page, "Value", "#assign").fill(`${RUN}@yield.test`);
  await press(page, "Link");
  await reads(page, "#notice", "Linked.");
  await holds(page, "City", "Liège");
  await holds(page, "Company", "B");
});

inBrowser("what a person is called runs nothing", async (page) => {
  const hostile = `<img src=x onerror="window.ran=1"><script>window.ran=1</script>"'${RUN}`;
  const names = ["firstname", "lastname", "company", "customerRef", "street", "houseNumber", "city", "otherContactDetails", "aiDocumentation"];
  const texts = Object.fromEntries(names.map((name) => [name, name === "houseNumber" ? "<b>1" : hostile]));
  const uid = `javascript:${hostile}`;
  const person = await create({ ...texts, uids: [{ uidType: "<i>x</i>", uid }] });
  const date = "2026-11-10T09:00:00Z";
  const ticket = { ticketID: Date.now() % 1_000_000_000, uid, subject: hostile, status: hostile, channelType: "<b>", dateCreated: date, lastMessageDate: date };
  const event = JSON.stringify({ type: "ticket.upserted", customerID: 7, occurredAt: date, ticket });
  assert.equal((await fetch(`${HERE}/local/ticket-events`, { method: "POST", body: event })).status, 202);
  await settle();
  await open(page, `#/?search=${RUN}&sortBy=company`);
  await page.locator(PEOPLE, { hasText: "onerror" }).getByRole("link").click();
  await reads(page, "#name", `${hostile} ${hostile} #${person.endUserID}`);
  await reads(page, "#uids td:nth-child(2)", uid);
  await reads(page, "#tickets td:nth-child(2)", hostile);
  await holds(page, "Other contact details", hostile);
  assert.equal(await page.title(), `${hostile} ${hostile} #${person.endUserID}`);
  await open(page, `#/?search=${encodeURIComponent(hostile)}&sortBy=${encodeURIComponent(hostile)}`);
  await page.locator("#problem", { hasText: "400" }).waitFor();
  assert.deepEqual(await page.evaluate(() => [document.querySelectorAll("img, b, i, script:not([src])").length, window.ran]), [0, undefined]);
});

inBrowser("another tenant's token shows another tenant's people", async (page) => {
  await open(page, "#/?search=jane+acme");
  await reads(page, "#people td[title='Acme NV']", "Acme NV");
  await page.getByLabel("Tenant").selectOption("8");
  await page.getByLabel("Search").fill("jane globex");
  await reads(page, "#people td[title*=' BV'], #people td[title*=' NV']", "Globex BV");
  await page.getByRole("link", { name: "Jane Doe" }).click();
  await holds(page, "Company", "Globex BV");
  await page.reload();
  await holds(page, "Company", "Globex BV");
  await page.getByRole("link", { name: "End users" }).click();
  await page.locator(PEOPLE).first().waitFor();
  await page.getByLabel("Tenant").selectOption("of a pasted token");
  await reads(page, "#problem", "Paste a token to begin.");
  assert.equal(await page.locator(PEOPLE).count(), 0, "nobody of tenant 8 stays on the screen");
  await token(page).fill(tokens.get(7));
  await token(page).press("Enter");
  await page.locator(PEOPLE).first().waitFor();
});

inBrowser("every control has a name, and a phone shows the pages without scrolling sideways", async (page) => {
  const person = await create({ firstname: "Unbreakable".repeat(15), uids: [{ uid: `${"long".repeat(15)}@${RUN}.test` }] });
  const fits = async (shown) => {
    await page.locator(shown).first().waitFor();
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 390, `${page.url()}: ${width}`);
    const nameless = () => Array.from(document.querySelectorAll("input, select, textarea")).filter(({ labels }) => !labels.length).length;
    assert.equal(await page.evaluate(nameless), 0);
  };
  await open(page);
  await fits(PEOPLE);
  await openPerson(page, person);
  await fits("#uids td");
  await open(page, "#/new");
  await fits("#first-uid");
  const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({ colorScheme: "light" });
  assert.notEqual(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), dark);
}, { viewport: { width: 390, height: 800 }, colorScheme: "dark" });
