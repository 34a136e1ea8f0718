import type { TestService } from "./service.ts";

/** What may stand for a secret wherever it is repeated. */
export function echoesOf(secret: string): string[] {
  const base64 = (pad: number) => Buffer.from("~".repeat(pad) + secret).toString("base64");
  return [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret),
    Buffer.from(secret).toString("hex"),
    ...[base64(0), base64(1), base64(2)],
    Buffer.from(secret).toString("base64url"),
  ];
}

/** What must be found nowhere: of base64, the part that does not depend on what stands around. */
export function tracesOf(secret: string): string[] {
  return echoesOf(secret).map((echo, index) => (index < 4 ? echo.replaceAll('"', "") : echo.slice(4, -4)));
}

/** All that the database holds, as text. */
export function dumpOf({ postgres }: TestService) {
  return postgres.asOwner(
    `select table_name, (xpath('/row/dump/text()', query_to_xml(format(
       'select string_agg(t::text, '' '') as dump from %I t', table_name), false, true, '')))[1]::text as dump
     from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
  );
}
