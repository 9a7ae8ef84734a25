"""The pages of `local`, used through their controls. Started by tests/browser/run."""

import os
import re
import uuid
from contextlib import suppress
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Error, expect

# A word that only this run uses: the system may hold other end users.
RUN = f"run{uuid.uuid4().hex[:12]}"
NAMES = "#end-users tbody th"
SUBJECTS = "#tickets td:nth-child(2)"
UIDS = "#uids td:nth-child(2)"
DUPLICATES = "#duplicates td:first-child"
MERGED = "#merges td:first-child"
SCREENSHOTS = os.environ.get("SCREENSHOTS")


def open_console(page, fragment=""):
    page.goto(f"/{fragment}")


def open_end_user(page, end_user):
    open_console(page, f"#/end-users/{end_user['endUserID']}")


def field(page, label, form="#profile"):
    return page.locator(form).get_by_label(label, exact=True)


def token_field(page):
    return page.get_by_role("textbox", name="Token")


def fill_identifier(page, number, value, uid_type=""):
    """Fills the first or the second identifier of the form that finds or creates an end user."""
    group = page.get_by_role("group").nth(number - 1)
    group.get_by_label("Type").fill(uid_type)
    group.get_by_label("Value").fill(value)


def pair(api, name, **fields):
    """Creates two end users that share an e-mail address. The second has the fields."""
    uids = [{"uid": f"{name}.{RUN}@pair.test"}]
    more = [{"uidType": "Crm", "uid": f"{name}-{RUN}"}]
    first = api.create(firstname="Jane", customerRef=f"A-{name}-{RUN}", uids=uids)
    second = api.create(customerRef=f"B-{name}-{RUN}", **{"firstname": "Janet", "uids": uids + more, **fields})
    return first, second


def title_of(end_user):
    return f"{end_user['name']} #{end_user['endUserID']}"


def preview_merge(page, other):
    press(page, f"Preview merge of {title_of(other)}")
    page.locator("#preview").wait_for()


def expect_focus(page, selector):
    expect(page.locator(selector)).to_be_focused()


def press(page, name, within="body"):
    page.locator(within).get_by_role("button", name=name, exact=True).click()


def expect_texts(page, selector, *texts):
    """Waits until the elements of a selector have exactly these texts."""
    expect(page.locator(selector)).to_have_text(list(texts))


def expect_visible(page, selector, text):
    """Waits until an element of a selector is visible and contains a text, in any case."""
    page.locator(selector, has_text=text).wait_for()


def expect_value(page, label, value):
    expect(field(page, label)).to_have_value(value)


def lose_first_response(page, url):
    """Drops the response of the first request with an idempotency key. Returns the keys of all requests."""
    keys = []

    def forward(route):
        key = route.request.header_value("idempotency-key")
        response = route.fetch()
        if key:
            keys.append(key)
        if key and len(keys) == 1:
            route.abort()
        else:
            route.fulfill(response=response)

    page.route(url, forward)
    return keys


@pytest.mark.skipif(not SCREENSHOTS, reason="no --screenshots")
def test_screenshots_show_the_pages(page):
    open_console(page, "#/?search=jan+acme")
    page.get_by_role("link", name="Jane Doe").click()
    page.locator("#tickets td").first.wait_for()
    page.locator("#name").blur()
    page.screenshot(path=f"{SCREENSHOTS}/console.png")
    page.goto("/docs")
    page.locator(".execute").click()
    page.locator(".live-responses-table").wait_for()
    page.locator(".execute").evaluate("node => scrollBy(0, node.getBoundingClientRect().top - 200)")
    page.screenshot(path=f"{SCREENSHOTS}/docs-page.png")


def test_docs_page_sends_first_request_with_demo_token(page):
    page.goto("/docs")
    expect_texts(page, "#token", "Requests use a token of the demo tenant 7.")
    page.locator(".execute").click()
    response = "[id$=listEndUsers] .live-responses-table tbody"
    expect_visible(page, f"{response} .response-col_status", "200")
    expect_visible(page, f"{response} .highlight-code", '"totalCount"')


def test_docs_page_creates_an_end_user(page, api):
    page.goto("/docs")
    operation = page.locator("[id$=createEndUser]")
    operation.locator(".opblock-summary-control").click()
    with page.expect_response(lambda response: response.request.method == "POST") as response:
        operation.locator(".execute").click()
    created = response.value.json()
    operation.locator(".live-responses-table .response-col_status", has_text="201").wait_for()
    assert api.read(created)["endUserID"] == created["endUserID"]


def test_docs_page_opens_every_operation(page, api):
    page.goto("/docs")
    page.locator(".execute").wait_for()
    closed = page.locator(".opblock:not(.is-open) .opblock-summary-control")
    while closed.count():
        closed.first.click()
    paths = api.requests.get("/openapi.json").json()["paths"]
    operations = [item for path in paths.values() for item in path.values() if "operationId" in item]
    assert page.locator(".execute").count() == len(operations)


def test_pages_ask_for_a_token_without_demo_tokens(page, api):
    page.route("**/local/tokens", lambda route: route.fulfill(json=[]))
    page.goto("/docs")
    expect_texts(page, "#token", "There is no demo token. Paste a token at Authorize.")
    open_console(page)
    expect_texts(page, "#problem", "Paste a token to begin.")
    token_field(page).fill("no.such.token")
    token_field(page).press("Enter")
    expect_visible(page, "#problem", "401")
    expect_texts(page, "#list output", "0 end users")
    token_field(page).fill(api.tokens[8])
    token_field(page).press("Enter")
    page.get_by_role("link", name="Jane Doe").wait_for()
    expect_texts(page, "#problem", "")


def test_search_sends_one_request_per_typing_pause(page, api):
    api.create(firstname=f"Ann{RUN}", lastname=f"Typed{RUN}")
    api.create(firstname=f"Anton{RUN}", lastname=f"Typed{RUN}")
    api.settle()
    page.clock.install()
    open_console(page)
    page.locator(NAMES).first.wait_for()
    # The page's clock cannot have reached this time when it is paused.
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 3600)
    queries = []
    page.on("request", lambda request: queries.append(urlsplit(request.url).query))

    def type_text(text):
        page.get_by_label("Search").press_sequentially(text)
        page.clock.run_for(1000)

    type_text(f"typed{RUN} an")
    expect_texts(page, NAMES, f"Ann{RUN} Typed{RUN}", f"Anton{RUN} Typed{RUN}")
    type_text("t")
    expect_texts(page, NAMES, f"Anton{RUN} Typed{RUN}")
    expect_texts(page, "#list output", "1 end user")
    page.get_by_label("Search").fill(f"typed{RUN}")
    page.get_by_role("button", name="Last name").click()
    expect_texts(page, NAMES, f"Ann{RUN} Typed{RUN}", f"Anton{RUN} Typed{RUN}")
    assert queries == [
        f"search=typed{RUN}+an", f"search=typed{RUN}+ant", f"sortBy=lastname&sortOrder=asc&search=typed{RUN}",
    ]


def test_stale_search_response_is_dropped(page, api):
    api.create(firstname="Slow", lastname=f"Late{RUN}")
    api.create(firstname="Fast", lastname=f"Late{RUN}")
    api.settle()
    open_console(page)
    held = []
    page.route(re.compile("search=slow"), lambda route: held.append(route))
    with page.expect_request(re.compile("search=slow")) as slow:
        page.get_by_label("Search").fill(f"slow late{RUN}")
    with page.expect_event("requestfailed", lambda request: request == slow.value) as aborted:
        page.get_by_label("Search").fill(f"fast late{RUN}")
        expect_texts(page, NAMES, f"Fast Late{RUN}")
    assert aborted.value.failure == "net::ERR_ABORTED"
    [route] = held
    with suppress(Error):
        route.continue_()
    expect_texts(page, NAMES, f"Fast Late{RUN}")


def test_list_sorts_by_every_field_in_both_orders(page, api):
    fields = [
        "endUserID", "name", "company", "customerType", "customerRef", "country", "city", "postalCode", "street", "houseNumber",
        "lang", "gender", "firstname", "lastname",
    ]
    name = f"Order{RUN}"
    api.create(
        firstname="Zoë", lastname=name, company="B", customerType="Customer", customerRef="2", country="NL", city="Gent", gender="f",
    )
    api.create(firstname="Abel", lastname=f"{name} 2", postalCode="9", street="A", houseNumber="1", lang="nl", city="Aalst")
    api.create(
        firstname="Mo", lastname=f"{name} 1", company="A", postalCode="10", street="B", houseNumber="2", lang="fr", country="BE",
    )
    api.settle()
    open_console(page, f"#/?search=order{RUN}")
    page.locator(NAMES).nth(2).wait_for()
    headers = page.locator("#end-users th[data-field]")
    assert headers.evaluate_all("cells => cells.map((cell) => cell.dataset.field)") == fields
    for field in fields:
        # The list opens sorted by id, so the first click on that header reverses the order.
        for order in ["desc", "asc"] if field == "endUserID" else ["asc", "desc"]:
            header = page.locator(f"#end-users th[data-field={field}]")
            header.get_by_role("button").press("Enter")
            items = api.list(f"search=order{RUN}&sortBy={field}&sortOrder={order}")["items"]
            expect_texts(page, NAMES, *(item["name"] for item in items))
            assert header.get_attribute("aria-sort") == f"{order}ending"
            assert page.locator("#end-users [aria-sort]").count() == 1


def test_list_pages_show_totals_and_keep_history(page, api):
    def shows(first, last):
        expect_texts(page, NAMES, *(f"P{n:02} Paged{RUN}" for n in range(first, last + 1)))

    for n in range(1, 24):
        api.create(firstname=f"P{n:02}", lastname=f"Paged{RUN}")
    api.settle()
    open_console(page, f"#/?search=paged{RUN}&sortBy=name")
    shows(1, 10)
    expect_texts(page, "#list output", "23 end users")
    expect_texts(page, "#list .pager span", "of 3")
    press(page, "Next", "#list")
    shows(11, 20)
    press(page, "Last", "#list")
    shows(21, 23)
    assert page.locator("#list").get_by_role("button", name="Next").get_attribute("aria-disabled") == "true"
    press(page, "Previous", "#list")
    shows(11, 20)
    press(page, "First", "#list")
    shows(1, 10)
    number = page.locator("#list").get_by_role("spinbutton", name="Page")
    number.fill("3")
    number.press("Enter")
    shows(21, 23)
    page.go_back()
    shows(1, 10)
    page.locator("#list").get_by_label("Rows").select_option("25")
    shows(1, 23)


def test_end_user_url_shows_uids_and_tickets(page):
    open_console(page, "#/?search=jane+acme")
    page.get_by_role("link", name="Jane Doe").click()

    def shows_jane():
        expect_value(page, "Company", "Acme NV")
        expect_texts(page, UIDS, "jane@example.com", "+32470000000", "32470000001")
        expect_texts(
            page, SUBJECTS,
            "Change of address", "Where is my parcel?", "Call me back about the delivery", "Invoice 2026-118 was charged twice",
        )
        expect_texts(page, "#linked output", "4 tickets")
        expect_visible(page, DUPLICATES, "J. Doe")

    shows_jane()
    assert page.evaluate("document.activeElement.id") == "name", "the heading has the focus"
    page.reload()
    shows_jane()
    page.go_back()
    expect_texts(page, NAMES, "Jane Doe")
    assert page.get_by_label("Search").input_value() == "jane acme"


def test_paging_tickets_keeps_unsaved_edits(page, api):
    uid = f"{RUN}@tickets.test"
    end_user = api.create(firstname="Many", uids=[{"uid": uid}])
    api.ingest(*({"uid": uid, "subject": f"S{day}", "date": f"2026-11-{day}T09:00:00Z"} for day in range(10, 22)))
    api.settle()
    open_end_user(page, end_user)
    expect_texts(page, SUBJECTS, *(f"S{day}" for day in range(21, 11, -1)))
    field(page, "City").fill("Gent")
    press(page, "Next", "#linked")
    expect_texts(page, SUBJECTS, "S11", "S10")
    assert field(page, "City").input_value() == "Gent"


def test_call_log_shows_the_cost_of_each_call(page):
    with page.expect_response("**/api/EndUsers") as response:
        open_console(page)
    timing = response.value.header_value("server-timing")
    cost = re.search('dur=(.+);desc="rtt=(.+) rru=(.+) wru=(.+)"', timing).groups()
    expect_texts(page, "#calls tbody th", "GET /api/EndUsers")
    status, ms, *figures = page.locator("#calls tbody td").all_text_contents()
    assert [status, *figures] == ["200", *cost]
    assert re.fullmatch(r"\d+\.\d", ms)


def test_validation_errors_mark_their_fields(page):
    open_console(page, "#/new")
    field(page, "First name").fill(f"New{RUN}")
    field(page, "Country").fill("Belgium")
    field(page, "Value").fill("not an address")
    press(page, "Save")
    for label in ["Country", "Value"]:
        control = field(page, label)
        page.locator(f"#profile-{control.get_attribute('name')}-error").wait_for()
        assert control.get_attribute("aria-invalid") == "true"
        description = "node => document.getElementById(node.getAttribute('aria-describedby')).textContent"
        assert control.evaluate(description) != ""
    assert page.locator("#profile .error").count() == 2
    assert page.evaluate("document.activeElement.name") == "country"
    field(page, "Country").fill("be")
    field(page, "Value").fill(f"new.{RUN}@example.com")
    press(page, "Save")
    expect_texts(page, "#notice", "Created.")
    expect_value(page, "Country", "BE")
    expect_texts(page, UIDS, f"new.{RUN}@example.com")
    assert page.locator("#profile .error").count() == 0


def test_create_after_a_lost_response_is_idempotent(page, api):
    keys = lose_first_response(page, "**/api/EndUsers")
    open_console(page, "#/new")
    field(page, "First name").fill("Once")
    field(page, "Last name").fill(f"Only{RUN}")
    press(page, "Save")
    expect_visible(page, "#profile .errors", "fetch")
    press(page, "Save")
    expect_texts(page, "#notice", "Created.")
    assert keys[0] == keys[1]
    api.settle()
    assert api.list(f"search=only{RUN}")["totalCount"] == 1


def test_edit_sends_changed_fields_with_if_match(page, api):
    end_user = api.create(firstname="Ed", lastname=RUN, otherContactDetails="one\r\ntwo", company="A")
    path = f"/api/EndUsers/{end_user['endUserID']}"
    with page.expect_response(f"**{path}") as response:
        open_end_user(page, end_user)
    etag = response.value.header_value("etag")
    field(page, "City").fill("Gent")
    field(page, "Company").fill("")
    with page.expect_request(lambda request: request.method == "PUT" and request.url.endswith(path)) as request:
        press(page, "Save")
    assert request.value.post_data_json == {"city": "Gent", "company": ""}
    assert request.value.header_value("if-match") == etag
    expect_texts(page, "#notice", "Saved.")
    saved = api.read(end_user)
    assert [saved["city"], saved["company"], saved["otherContactDetails"]] == ["Gent", None, "one\r\ntwo"]
    page.locator("#profile").get_by_role("combobox", name="Type").select_option("Partner")
    press(page, "Save")
    expect_texts(page, "#notice", "Saved.")
    assert api.read(end_user)["customerType"] == "Partner"


def test_stale_edit_overwrites_nothing(page, api):
    end_user = api.create(firstname="Con", lastname="Flict")
    open_end_user(page, end_user)
    expect_value(page, "Last name", "Flict")
    api.update(end_user, city="Leuven")
    field(page, "City").fill("Gent")
    press(page, "Save")
    expect_visible(page, "#profile .errors", "412")
    assert api.read(end_user)["city"] == "Leuven"
    page.on("dialog", lambda dialog: dialog.accept())
    with page.expect_response(lambda response: response.request.method == "DELETE") as response:
        press(page, "Delete this end user")
    assert response.value.status == 412
    press(page, "Load the current version")
    expect_value(page, "City", "Leuven")
    field(page, "City").fill("Gent")
    press(page, "Save")
    expect_texts(page, "#notice", "Saved.")
    assert api.read(end_user)["city"] == "Gent"


def test_delete_requires_confirmation(page, api):
    end_user = api.create(firstname="Gone", lastname=RUN)
    open_end_user(page, end_user)
    expect_value(page, "First name", "Gone")
    deletes = []
    page.on("request", lambda request: request.method == "DELETE" and deletes.append(request.url))
    page.once("dialog", lambda dialog: dialog.dismiss())
    press(page, "Delete this end user")
    page.once("dialog", lambda dialog: dialog.accept())
    press(page, "Delete this end user")
    expect_texts(page, "#notice", "Deleted.")
    page.locator(NAMES).first.wait_for()
    assert len(deletes) == 1, "the dismissed dialog sent no request"
    with pytest.raises(Error, match="404"):
        api.read(end_user)
    open_end_user(page, end_user)
    expect_visible(page, "#problem", "404")
    assert not page.locator("#end-user").is_visible()


def test_linking_uids_keeps_unsaved_edits(page, api):
    end_user = api.create(firstname="Linda", country="BE")
    open_end_user(page, end_user)
    field(page, "City").fill("Gent")
    field(page, "Type", "#assign").fill("Phone")
    field(page, "Value", "#assign").fill("12")
    press(page, "Link")
    page.locator("#assign-uid-error").wait_for()
    field(page, "Value", "#assign").fill("0470 00 00 99")
    field(page, "Primary", "#assign").check()
    press(page, "Link")
    expect_texts(page, "#notice", "Linked.")
    expect_texts(page, UIDS, "+32470000099")
    expect_texts(page, "#uids td:nth-child(3)", "yes")
    field(page, "Type", "#assign").fill("Phone")
    field(page, "Value", "#assign").fill("+32470000099")
    press(page, "Link")
    expect_visible(page, "#notice", "already")
    press(page, "Remove +32470000099")
    expect_texts(page, "#notice", "Removed.")
    expect_texts(page, UIDS)
    assert field(page, "City").input_value() == "Gent"
    press(page, "Save")
    expect_texts(page, "#notice", "Saved.")
    assert api.read(end_user)["city"] == "Gent"


def test_changed_record_replaces_unsaved_edits(page, api):
    end_user = api.create(firstname="Yield", city="Gent", company="A")
    open_end_user(page, end_user)
    field(page, "City").fill("Leuven")
    field(page, "Company").fill("B")
    api.update(end_user, city="Liège")
    field(page, "Value", "#assign").fill(f"{RUN}@yield.test")
    press(page, "Link")
    expect_texts(page, "#notice", "Linked.")
    expect_value(page, "City", "Liège")
    expect_value(page, "Company", "B")


def test_upsert_opens_the_end_user_with_the_outcome(page, api):
    email = f"upsert.{RUN}@example.com"
    open_console(page)
    page.get_by_role("link", name="Find or create").click()
    expect_focus(page, "#find-or-create h1")
    fill_identifier(page, 1, email)
    fill_identifier(page, 2, "0470 00 00 42", "Phone")
    field(page, "First name", "#upsert").fill("Una")
    field(page, "Country", "#upsert").fill("be")
    press(page, "Find or create", "#upsert")
    expect_visible(page, "#notice", "Created: ")
    expect_value(page, "First name", "Una")
    expect_texts(page, UIDS, email, "+32470000042")
    expect_focus(page, "#name")
    created = api.call("GET", f"/api/EndUsers/byUid?uid={email}")[0]
    assert page.url.split("?")[0].endswith(f"#/end-users/{created['endUserID']}")
    page.go_back()
    press(page, "Find or create", "#upsert")
    expect_visible(page, "#notice", "Unchanged: ")
    expect_texts(page, "#name", f"Una #{created['endUserID']}")
    page.go_back()
    field(page, "First name", "#upsert").fill("Unity")
    page.get_by_role("combobox", name="If found").select_option("none")
    press(page, "Find or create", "#upsert")
    expect_visible(page, "#notice", "Unchanged: ")
    expect_value(page, "First name", "Una")
    page.go_back()
    page.get_by_role("combobox", name="If found").select_option("update")
    press(page, "Find or create", "#upsert")
    expect_visible(page, "#notice", "Updated: ")
    expect_value(page, "First name", "Unity")
    assert api.read(created)["firstname"] == "Unity"


def test_upsert_after_a_lost_response_is_idempotent(page):
    keys = lose_first_response(page, "**/api/EndUsers/upsert")
    open_console(page, "#/upsert")
    fill_identifier(page, 1, f"lost.{RUN}@example.com")
    press(page, "Find or create", "#upsert")
    expect_visible(page, "#upsert .errors", "fetch")
    press(page, "Find or create", "#upsert")
    expect_visible(page, "#notice", "Created: ")
    assert keys[0] == keys[1]


def test_upsert_links_the_end_users_that_conflict(page, api):
    email, reference = f"conflict.{RUN}@example.com", f"C-{RUN}"
    first = api.create(firstname="Con", uids=[{"uid": email}])
    second = api.create(firstname="Flict", customerRef=reference)
    api.settle()
    open_console(page, "#/upsert")
    fill_identifier(page, 1, f"unknown.{RUN}@example.com")
    fill_identifier(page, 2, email)
    field(page, "Reference", "#upsert").fill(reference)
    press(page, "Find or create", "#upsert")
    expect_texts(
        page, "#upsert .errors",
        "409: The identifiers belong to several end users. Nothing was written. "
        f"End user {first['endUserID']} holds {email} End user {second['endUserID']} holds {reference}",
    )
    assert page.evaluate("document.activeElement.textContent") == "Find or create"
    page.get_by_role("link", name=f"End user {second['endUserID']}", exact=True).click()
    expect_texts(page, "#name", title_of(second))
    page.go_back()
    page.get_by_role("link", name=f"End user {first['endUserID']}", exact=True).click()
    expect_texts(page, "#name", title_of(first))
    page.go_back()
    page.get_by_label("Tenant").select_option("8")
    page.get_by_role("link", name="Find or create").click()
    expect_texts(page, "#upsert .errors", "")
    expect(field(page, "Reference", "#upsert")).to_have_value("")


def test_upsert_replaces_no_reference(page, api):
    email = f"reference.{RUN}@example.com"
    end_user = api.create(customerRef=f"OLD-{RUN}", uids=[{"uid": email}])
    api.settle()
    open_console(page, "#/upsert")
    fill_identifier(page, 1, email)
    field(page, "Reference", "#upsert").fill(f"NEW-{RUN}")
    press(page, "Find or create", "#upsert")
    expect_texts(
        page, "#upsert .errors",
        "409: The end user that was found has a different reference. Nothing was written. "
        f"End user {end_user['endUserID']} has a reference other than NEW-{RUN}",
    )
    assert api.read(end_user)["customerRef"] == f"OLD-{RUN}"


def test_upsert_errors_mark_their_identifiers(page):
    open_console(page, "#/upsert")
    press(page, "Find or create", "#upsert")
    expect_visible(page, "#upsert .errors", "400")
    assert page.evaluate("document.activeElement.name") == "uids[0].uid"
    fill_identifier(page, 1, f"marked.{RUN}@example.com")
    fill_identifier(page, 2, "not an address")
    press(page, "Find or create", "#upsert")
    page.locator("[id='upsert-uids[1].uid-error']").wait_for()
    assert page.locator("#upsert [aria-invalid]").count() == 1
    fill_identifier(page, 1, "")
    fill_identifier(page, 2, "")
    field(page, "Reference", "#upsert").fill(f"ONLY-{RUN}")
    press(page, "Find or create", "#upsert")
    expect_visible(page, "#notice", "Created: ")


def test_merge_preview_shows_every_change(page, api):
    ours, other = pair(api, "preview", lastname="Doe")
    # The text key of the reference is the same as the one of this UID.
    third = api.create(firstname="Third", uids=[{"uidType": "Shop", "uid": ours["customerRef"]}])
    api.settle()
    open_end_user(page, ours)
    expect_texts(page, DUPLICATES, title_of(other), title_of(third))
    expect_texts(page, "#duplicates td:nth-child(2)", ours["uids"][0]["uid"], ours["customerRef"])
    expect(page.locator("#preview")).to_be_hidden()
    preview_merge(page, other)
    expect_focus(page, "#preview-title")
    expect_texts(page, "#preview-title", f"Merge {title_of(other)} into Jane Doe #{ours['endUserID']}")
    expect_texts(
        page, "#changes tbody tr",
        "FilledLast nameDoe",
        "DiscardedFirst nameJanet (Jane stays)",
        f"Becomes a UIDReference{other['customerRef']}",
        f"MovedCrmpreview-{RUN}",
        f"Dropped, already heldEmail{other['uids'][0]['uid']}",
    )
    expect(page.locator("#preview-undo")).to_have_text(re.compile(r"^The merge can be undone until \d{4}-\d\d-\d\d \d\d:\d\d\.$"))
    press(page, "Cancel")
    expect(page.locator("#preview")).to_be_hidden()
    expect_focus(page, f"[aria-label='Preview merge of {title_of(other)}']")
    assert [api.read(ours), api.read(other)] == [ours, other], "a preview writes nothing"
    page.locator(DUPLICATES).get_by_role("link", name=title_of(third)).click()
    expect_texts(page, "#name", title_of(third))
    expect_texts(page, DUPLICATES, title_of(ours))


def test_merge_can_be_undone(page, api):
    ours, other = pair(api, "undo", lastname="Doe")
    open_end_user(page, ours)
    expect_value(page, "First name", "Jane")
    expect(page.locator("#merges-section")).to_be_hidden()
    field(page, "City").fill("Gent")
    preview_merge(page, other)
    press(page, "Confirm")
    expect_texts(page, "#notice", f"End user {other['endUserID']} was merged into this one.")
    expect_value(page, "Last name", "Doe")
    expect_value(page, "City", "Gent")
    expect_texts(page, UIDS, ours["uids"][0]["uid"], f"undo-{RUN}", other["customerRef"])
    expect(page.locator("#duplicates-section")).to_be_hidden()
    expect_focus(page, "#name")
    [record] = api.call("GET", f"/api/EndUsers/{ours['endUserID']}/merges")
    times = [record[name][:16].replace("T", " ") for name in ["dateMerged", "undoUntil"]]
    expect_texts(page, "#merges tbody td", f"#{other['endUserID']}", *times, "Undo")
    press(page, f"Undo the merge of end user {other['endUserID']}")
    expect_texts(page, "#notice", f"The merge was undone: {title_of(other)} is an end user of its own again.")
    expect_value(page, "Last name", "")
    expect_value(page, "City", "Gent")
    expect_texts(page, DUPLICATES, title_of(other))
    expect(page.locator("#merges-section")).to_be_hidden()
    page.locator("#notice").get_by_role("link", name=title_of(other)).click()
    expect_texts(page, "#name", title_of(other))
    assert [api.read(ours), api.read(other)] == [ours, other]


def test_merge_after_a_lost_response_is_idempotent(page, api):
    ours, other = pair(api, "lost")
    keys = lose_first_response(page, f"**/api/EndUsers/{ours['endUserID']}/merge")
    open_end_user(page, ours)
    preview_merge(page, other)
    press(page, "Confirm")
    expect_visible(page, "#merge .errors", "fetch")
    press(page, "Confirm")
    expect_texts(page, "#notice", f"End user {other['endUserID']} was merged into this one.")
    assert keys[0] == keys[1]


def test_merge_of_a_modified_end_user_writes_nothing(page, api):
    ours, other = pair(api, "modified")
    open_end_user(page, ours)
    preview_merge(page, other)
    api.update(ours, city="Leuven")
    press(page, "Confirm")
    expect_visible(page, "#merge .errors", "412: the end user was modified")
    assert api.duplicates(ours) == [other["endUserID"]]
    press(page, "Load the current version", "#merge")
    expect_value(page, "City", "Leuven")
    expect(page.locator("#preview")).to_be_hidden()
    expect_focus(page, "#name")
    preview_merge(page, other)
    press(page, "Confirm")
    expect_texts(page, "#notice", f"End user {other['endUserID']} was merged into this one.")


def test_later_merge_must_be_undone_first(page, api):
    ours, first = pair(api, "first")
    second = api.create(firstname="Later")
    api.merge(ours, first)
    api.merge(ours, second)
    open_end_user(page, ours)
    expect_texts(page, MERGED, f"#{second['endUserID']}", f"#{first['endUserID']}")
    press(page, f"Undo the merge of end user {first['endUserID']}")
    expect_texts(
        page, "#undo .errors",
        f"409: A later merge must be undone first. Nothing was written. End user {second['endUserID']} was merged later",
    )
    page.locator("#undo").get_by_role("link", name=f"End user {second['endUserID']}").click()
    expect_texts(page, "#notice", f"End user {second['endUserID']} was merged into {ours['endUserID']}.")
    expect_texts(page, "#undo .errors", "")
    for end_user in [second, first]:
        press(page, f"Undo the merge of end user {end_user['endUserID']}")
        expect_texts(page, "#notice", re.compile("^The merge was undone: "))


def test_merged_id_opens_the_survivor(page, api):
    ours, other = pair(api, "survivor")
    last = api.create(firstname="Last")
    api.merge(ours, other)
    api.merge(last, ours)
    open_end_user(page, other)
    expect_texts(page, "#notice", f"End user {other['endUserID']} was merged into {last['endUserID']}.")
    expect_value(page, "First name", "Last")
    assert page.url.split("?")[0].endswith(f"#/end-users/{last['endUserID']}")
    page.reload()
    expect_value(page, "First name", "Last")
    expect_texts(page, "#notice", "")


def test_edit_of_a_merged_end_user_writes_nothing(page, api):
    ours, other = pair(api, "edit")
    open_end_user(page, other)
    expect_value(page, "First name", "Janet")
    api.merge(ours, other)
    merged = api.read(ours)
    field(page, "City").fill("Gent")
    press(page, "Save")
    expect_visible(
        page, "#profile .errors",
        f"412: The end user was merged into {ours['endUserID']} meanwhile. Nothing was written.",
    )
    assert page.locator("#profile").get_by_label("City").input_value() == "Gent"
    assert api.read(ours) == merged
    press(page, "Load the current version")
    expect_texts(page, "#notice", f"End user {other['endUserID']} was merged into {ours['endUserID']}.")
    expect_value(page, "First name", "Jane")
    expect_value(page, "City", "")
    expect_texts(page, "#profile .errors", "")


def test_hostile_text_in_a_merge_runs_no_script(page, api):
    hostile = f"""<img src=x onerror="window.ran=1"><script>window.ran=1</script>merge{RUN}"""
    uids = [{"uidType": "<b>x</b>", "uid": hostile}, {"uidType": "<b>y</b>", "uid": f"{hostile}2"}]
    ours = api.create(company=f"{hostile}1", uids=uids[:1])
    other = api.create(firstname=hostile, company=hostile, customerRef=f"{hostile}3", uids=uids)
    open_end_user(page, ours)
    expect_texts(page, "#duplicates td:nth-child(2)", hostile)
    page.get_by_role("button", name="Preview merge").click()
    expect_visible(page, "#changes", f"{hostile}2")
    press(page, "Confirm")
    expect_visible(page, "#notice", "merged")
    press(page, f"Undo the merge of end user {other['endUserID']}")
    expect_visible(page, "#notice", hostile)
    assert page.locator("img, b, i, script:not([src])").count() == 0
    assert page.evaluate("window.ran") is None


def test_hostile_text_runs_no_script(page, api):
    hostile = f"""<img src=x onerror="window.ran=1"><script>window.ran=1</script>"'{RUN}"""
    fields = ["firstname", "lastname", "company", "customerRef", "street", "city", "otherContactDetails", "aiDocumentation"]
    uid = f"javascript:{hostile}"
    uids = [{"uidType": "<i>x</i>", "uid": uid}]
    end_user = api.create(**dict.fromkeys(fields, hostile), houseNumber="<b>1", uids=uids)
    api.ingest({"uid": uid, "subject": hostile, "status": hostile, "channelType": "<b>", "date": "2026-11-10T09:00:00Z"})
    api.settle()
    open_console(page, f"#/?search={RUN}&sortBy=company&pageSize=100")
    page.locator(NAMES, has_text="onerror").get_by_role("link").click()
    title = f"{hostile} {hostile} #{end_user['endUserID']}"
    expect_texts(page, "#name", title)
    expect_texts(page, UIDS, uid)
    expect_texts(page, SUBJECTS, hostile)
    expect_value(page, "Other contact details", hostile)
    assert page.title() == title
    open_console(page, f"#/?search={quote(hostile)}&sortBy={quote(hostile)}")
    expect_visible(page, "#problem", "400")
    assert page.locator("img, b, i, script:not([src])").count() == 0
    assert page.evaluate("window.ran") is None


def test_tenant_choice_shows_only_its_end_users(page, api):
    open_console(page, "#/?search=jane+acme")
    expect_texts(page, "#end-users td[title='Acme NV']", "Acme NV")
    page.get_by_label("Tenant").select_option("8")
    page.get_by_label("Search").fill("jane globex")
    expect_texts(page, "#end-users td[title*=' BV'], #end-users td[title*=' NV']", "Globex BV")
    page.get_by_role("link", name="Jane Doe").click()
    expect_value(page, "Company", "Globex BV")
    page.reload()
    expect_value(page, "Company", "Globex BV")
    page.get_by_role("link", name="End users").click()
    page.locator(NAMES).first.wait_for()
    page.get_by_label("Tenant").select_option("pasted token")
    expect_texts(page, "#problem", "Paste a token to begin.")
    assert page.locator(NAMES).count() == 0, "no end user of tenant 8 stays on the screen"
    token_field(page).fill(api.tokens[7])
    token_field(page).press("Enter")
    page.locator(NAMES).first.wait_for()


def test_controls_have_labels_and_pages_fit_a_phone(page, api):
    def fits(selector):
        page.locator(selector).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, page.url
        controls = page.locator("input, select, textarea")
        assert controls.evaluate_all("nodes => nodes.filter(({ labels }) => !labels.length).length") == 0

    background = "getComputedStyle(document.body).backgroundColor"
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme="dark")
    fields = {"firstname": "Unbreakable" * 15, "uids": [{"uid": f"{'long' * 15}@{RUN}.test"}]}
    end_user = api.create(**fields)
    api.create(**fields, company="Long" * 50)
    open_console(page)
    fits(NAMES)
    open_end_user(page, end_user)
    fits("#uids td")
    page.get_by_role("button", name="Preview merge").click()
    fits("#changes td")
    press(page, "Confirm")
    fits("#merges td")
    open_console(page, "#/upsert")
    fits("#upsert .fields input")
    open_console(page, "#/new")
    fits("#first-uid")
    dark = page.evaluate(background)
    page.emulate_media(color_scheme="light")
    assert page.evaluate(background) != dark
