import type { OAuth2Method, Template } from "./integration.ts";

/** The URLs that OAuth is spoken with, by the name of their member. */
export function oauthUrls(oauth2: OAuth2Method | undefined): Readonly<Record<string, Template>> {
  if (oauth2 === undefined) return {};
  const { issuer, authorizationUrl, tokenUrl, refreshUrl, revocationUrl } = oauth2;
  const { deviceAuthorizationUrl } = oauth2;
  const urls = { issuer, authorizationUrl, tokenUrl, refreshUrl, revocationUrl };
  return Object.fromEntries(
    Object.entries({ ...urls, deviceAuthorizationUrl }).flatMap(([name, url]) =>
      url === undefined ? [] : [[name, url]],
    ),
  );
}
