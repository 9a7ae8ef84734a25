// The first operation stands open, and a click on Execute sends it: the token is filled in.

const FIRST = "listEndUsers";

const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

const [spec, tokens] = await Promise.all(["/openapi.json", "/local/tokens"].map(async (path) => (await fetch(path)).json()));
// Whatever the description names: this page tries the system that it comes from, and may reach no other.
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
      ? `Requests carry a token of the demo tenant ${demo.tenant}.`
      : "There is no demo token here: paste one at Authorize.";
    if (first && !location.hash) ui.layoutActions.show(["operations", first.tags?.[0] ?? "default", FIRST], true);
  },
});
