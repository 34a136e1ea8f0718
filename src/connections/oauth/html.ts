import { createHash } from "node:crypto";
import type { PageAnswer } from "#src/platform/page.ts";

/** Headers of every answer to a browser that is on its way through. */
export const guards = {
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-frame-options": "DENY",
  "cross-origin-opener-policy": "same-origin",
} as const;

const style = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 0; display: grid; min-height: 100vh; place-items: center; }
main { max-width: 32rem; padding: 2rem; }
h1 { font-size: 1.4rem; }
button { font: inherit; padding: 0.6rem 1.2rem; cursor: pointer; }
dt { font-weight: 600; } dd { margin: 0 0 0.6rem; overflow-wrap: anywhere; }
`;

/**
 * Shows what a link would connect, and asks. The link's token is in the fragment, so it is in no request but the two
 * that this makes, and it leaves the address bar and the history at once.
 */
const connectScript = `
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const byId = (id) => document.getElementById(id);
const say = (text) => { byId("say").textContent = text; };
const look = async () => {
  if (token === "") return say("This page needs the whole link, with what is behind the #. Open it again as it was sent to you.");
  const answer = await fetch("/connect", { method: "POST", body: new URLSearchParams({ token, look: "1" }), credentials: "omit" });
  const what = await answer.json();
  if (!answer.ok) return say(what.error);
  for (const name of ["organization", "service", "host", "scopes"]) byId(name).textContent = what[name];
  byId("token").value = token;
  say("You were asked to connect this:");
  byId("ask").hidden = false;
};
look().catch(() => say("Patchbay did not answer. Load the link again."));
`;

const hashed = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** The page behind every link. */
export const connectPage: PageAnswer = page(
  200,
  "Connect a service",
  `<p id="say">One moment.</p>
<noscript><p>This page needs JavaScript: the link's secret part is not sent to any server without it.</p></noscript>
<form id="ask" method="post" action="/connect" hidden>
<dl><dt>Service</dt><dd id="service"></dd><dt>You sign in at</dt><dd id="host"></dd>
<dt>It will be used by</dt><dd id="organization"></dd><dt>For</dt><dd id="scopes"></dd></dl>
<p>Continue only if you know this organisation and expected to be asked.</p>
<input type="hidden" name="token" id="token"><button>Continue</button></form>`,
  connectScript,
);

/** A page that says something to a person. The texts may come from anywhere. */
export function messagePage(status: number, title: string, paragraphs: readonly string[]): PageAnswer {
  return page(status, escaped(title), paragraphs.map((text) => `<p>${escaped(text)}</p>`).join("\n"));
}

function page(status: number, title: string, content: string, script?: string): PageAnswer {
  return {
    status,
    headers: {
      ...guards,
      "content-type": "text/html; charset=utf-8",
      // No form-action: browsers hold redirects to it as well, and the one behind our form leads to the service.
      "content-security-policy": [
        "default-src 'none'",
        `style-src ${hashed(style)}`,
        ...(script === undefined ? [] : [`script-src ${hashed(script)}`, "connect-src 'self'"]),
        "base-uri 'none'",
        "frame-ancestors 'none'",
      ].join("; "),
    },
    body: `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title><style>${style}</style></head>
<body><main><h1>${title}</h1>
${content}
</main>${script === undefined ? "" : `<script>${script}</script>`}</body></html>
`,
  };
}

/** Sends the browser on. */
export function redirect(location: string, cookie: string): PageAnswer {
  return { status: 303, headers: { ...guards, location, "set-cookie": cookie }, body: "" };
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
