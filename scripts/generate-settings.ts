import { format } from "prettier";
import { readFileSync, writeFileSync } from "node:fs";
import { settingNamed, settings, type SettingName } from "#src/config/settings.ts";

const file = "docs/operating.md";
const header = "| Flag | Variable | Value | Default | What it is |";

/** The page with the table of settings as it follows from the code. */
export async function withSettings(page: string): Promise<string> {
  const lines = page.split("\n");
  const start = lines.findIndex((line) => /^\| Flag +\| Variable/.test(line));
  const length = lines.slice(start).findIndex((line) => !line.startsWith("|"));
  const rows = (Object.keys(settings) as SettingName[]).map(rowOf);
  const table = [header, "| --- | --- | --- | --- | --- |", ...rows];
  return format(lines.toSpliced(start, length, ...table).join("\n"), { parser: "markdown", printWidth: 110 });
}

function rowOf(name: SettingName): string {
  const { flag, env, value, fallback, about } = settingNamed(name);
  const cells = [flag === undefined ? "none, it is secret" : code(`--${flag}`), code(env), value];
  return `| ${[...cells, code(fallback ?? ""), about].map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function code(text: string): string {
  return text === "" ? "" : `\`${text}\``;
}

if (import.meta.main) writeFileSync(file, await withSettings(readFileSync(file, "utf8")));
