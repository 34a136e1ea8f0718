import { expect, test, vi } from "vitest";
import { openBrowser } from "../support/browser.ts";
import { startService } from "../support/service.ts";
import { patchbay, type Patchbay } from "./patchbay.ts";

/** What the demo printed, once that is among it. */
async function shown(demo: Patchbay, what: RegExp): Promise<string> {
  await vi.waitFor(() => expect(demo.stdout()).toMatch(what), { timeout: 60_000 });
  return demo.stdout();
}

test("the demo shows what arrives at its channel, and a link: whoever signs in has connected the service, until the demo ends", async () => {
  await using service = await startService();
  const env = { PATCHBAY_URL: service.url, PATCHBAY_KEY: service.org.secret };
  await using demo = patchbay(["demo"], { env });
  const link = await vi.waitFor(
    () => {
      const found = /^ {2}(http\S+)$/m.exec(demo.stdout())?.[1];
      if (found === undefined) throw new Error(`no link in: ${demo.stdout()}`);
      return new URL(found);
    },
    { timeout: 60_000 },
  );
  const channel = /^ {2}curl (\S+\/in\/chn_\w+) /m.exec(await shown(demo, /curl .*\n/))![1]!;
  const headers = { authorization: `Bearer ${service.org.secret}`, "content-type": "application/json" };
  const event = await fetch(channel, {
    method: "POST",
    headers,
    body: '{"type":"order.paid","amount":1250}',
  });
  expect(event.status).toBe(200);
  await shown(demo, / 1 {2}order\.paid\n {2}\{"type":"order\.paid","amount":1250\}\n/);

  const browser = openBrowser();
  const { origin } = new URL(service.url);
  const sent = await browser.visit(`${origin}${link.pathname}`, {
    method: "POST",
    headers: { origin },
    body: new URLSearchParams({ token: link.hash.slice(1) }),
  });
  const consent = sent.headers.get("location")!;
  expect(await (await browser.visit(consent)).text()).toContain("Patchbay asks to read your name here.");
  const form = new URL(consent).searchParams;
  form.set("name", "Grace");
  form.set("decision", "allow");
  const back = await browser.visit(new URL("/authorize", consent).href, { method: "POST", body: form });
  const done = await browser.visit(back.headers.get("location")!);
  expect(await done.text()).toContain("Connected");
  await vi.waitFor(() => expect(demo.stdout()).toContain('GET /me  200  {"name":"Grace"'), {
    timeout: 60_000,
  });
  const { code, stdout, stderr } = await demo.kill("SIGINT");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toContain("the connection is deleted, and its tokens: REVOKED");
  const { body } = await service.org.rest("GET", "/api/connections");
  expect(body.data.connections).toEqual([]);
  expect((await service.org.rest("GET", "/api/event-channels")).body.data.channels).toEqual([]);
});
