/** A person's browser: it keeps cookies by their path, and goes where it is sent when the test lets it. */
export interface Browser {
  /** Asks for a page, and follows nothing. */
  visit(url: string, init?: RequestInit): Promise<Response>;
  /** Asks for a page, and follows redirects until one leads to a place that begins like this, which it answers. */
  follow(url: string, until: string, init?: RequestInit): Promise<string>;
}

interface Cookie {
  readonly origin: string;
  readonly name: string;
  readonly value: string;
  readonly path: string;
}

const mostRedirects = 12;

export function openBrowser(): Browser {
  let cookies: Cookie[] = [];

  function cookiesFor({ origin, pathname }: URL): string {
    return cookies
      .filter((cookie) => cookie.origin === origin && pathname.startsWith(cookie.path))
      .map(({ name, value }) => `${name}=${value}`)
      .join("; ");
  }

  function keep(url: URL, line: string): void {
    const [pair = "", ...attributes] = line.split(";").map((part) => part.trim());
    const name = pair.slice(0, pair.indexOf("="));
    const value = pair.slice(pair.indexOf("=") + 1);
    const path = attributes.find((one) => /^path=/i.test(one))?.slice(5) ?? "/";
    cookies = cookies.filter((one) => one.origin !== url.origin || one.name !== name || one.path !== path);
    const isGone = attributes.some((one) => /^max-age=0$/i.test(one)) || value === "";
    if (!isGone) cookies.push({ origin: url.origin, name, value, path });
  }

  async function visit(url: string, init: RequestInit = {}): Promise<Response> {
    const at = new URL(url);
    const headers = new Headers(init.headers);
    const sent = cookiesFor(at);
    if (sent !== "") headers.set("cookie", sent);
    const response = await fetch(url, { ...init, headers, redirect: "manual" });
    for (const line of response.headers.getSetCookie()) keep(at, line);
    return response;
  }

  return {
    visit,
    async follow(url, until, init) {
      let next = url;
      let request = init;
      for (let count = 0; count < mostRedirects; count += 1) {
        if (count > 0 && next.startsWith(until)) return next;
        const response = await visit(next, request);
        const location = response.headers.get("location");
        if (location === null)
          throw new Error(`${next} leads nowhere: ${response.status} ${await response.text()}`);
        next = new URL(location, next).href;
        request = {};
      }
      throw new Error(`${url} leads round and round`);
    },
  };
}
