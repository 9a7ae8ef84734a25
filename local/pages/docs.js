// The page opens the first operation and fills in a demo token, so that a click on Execute sends a request.

const FIRST = "listEndUsers";

const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

const [spec, tokens] = await Promise.all(["/openapi.json", "/local/tokens"].map(async (path) => (await fetch(path)).json()));
// The Content-Security-Policy allows requests to the page's own origin only.
spec.servers = [{ url: location.origin }];

const first = Object.values(spec.paths).flatMap(Object.values).find(({ operationId }) => operationId === FIRST);
const ui = window.SwaggerUIBundle({
  spec,
  dom_id: "#reference",
  deepLinking: true,
  tryItOutEnabled: true,
  displayOperationId: false,
  displayRequestDuration: true,
  validatorUrl: null,
  onComplete: () => {
    const [demo] = tokens;
    if (demo) ui.preauthorizeApiKey("token", demo.token);
    document.getElementById("token").textContent = demo
      ? `Requests use a token of the demo tenant ${demo.tenant}.`
      : "There is no demo token. Paste a token at Authorize.";
    if (first && !location.hash) ui.layoutActions.show(["operations", first.tags?.[0] ?? "default", FIRST], true);
  },
});
