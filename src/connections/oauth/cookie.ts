import { hashOf } from "./flow-store.ts";

const path = "/oauth/callback";

/** Marks the browser that began, so that no other can end what it began. One for each, as a person may begin several. */
export function cookieOf(state: string, browser: string, publicUrl: string, maxAgeSeconds: number): string {
  const secure = publicUrl.startsWith("https:") ? "; Secure" : "";
  // Lax: the service sends the person back by a link, and a page of its own must not be able to do it silently.
  return `${nameOf(state)}=${browser}; Path=${path}; Max-Age=${maxAgeSeconds}; HttpOnly; SameSite=Lax${secure}`;
}

/** Takes the mark away again. */
export function cookieAfter(state: string): string {
  return `${nameOf(state)}=; Path=${path}; Max-Age=0; HttpOnly; SameSite=Lax`;
}

/** The mark of the browser that comes back with the state; undefined for one without. */
export function browserIn(cookies: string | undefined, state: string): string | undefined {
  const name = nameOf(state);
  const pairs = (cookies ?? "").split(";").map((pair) => pair.trim());
  return pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
}

function nameOf(state: string): string {
  return `patchbay_oauth_${hashOf(state).toString("hex").slice(0, 16)}`;
}
