import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { byPrecedence, match, parseTemplate, shapeOf } from "#src/rest/template.ts";

describe("a template outside the grammar is refused", () => {
  test.each([
    "",
    "/",
    "v1/books",
    "/v1/books/",
    "/v1//books",
    "/v1/book-{id}",
    "/v1/{id}-book",
    "/v1/{id}{name}",
    "/v1/{a={b}}",
    "/v1/{a={b=*}/c}",
    "/v1/{}",
    "/v1/{1a}",
    "/v1/{a.}",
    "/v1/{a=}",
    "/v1/{a=/x}",
    "/v1/{a=x/}",
    "/v1/{a=x:verb}",
    "/v1/{a}/{a}",
    "/v1/{a=**}/{b}",
    "/v1/**/*",
    "/v1/**/**",
    "/v1/***",
    "/v1/a*",
    "/v1/a:b/c",
    "/v1/a:",
    "/v1/a:b:c",
    "/v1/a b",
    "/v1/a?b",
    "/v1/%zz",
    "/v1/%ff",
    "/v1/{a",
    "/v1/a}",
  ])("%j", (text) => {
    expect(() => parseTemplate(text)).toThrow();
  });
});

describe("a path matches a template and binds its variables", () => {
  test.each<[template: string, path: string, values: string[] | undefined]>([
    ["/v1/books", "/v1/books", []],
    ["/v1/books", "/v1/book", undefined],
    ["/v1/books", "/v1", undefined],
    ["/v1/books", "/v1/books/1", undefined],
    ["/v1/b%20c", "/v1/b%20c", []],
    ["/v1/books", "/v1/%62ooks", []],
    ["/v1/*/x", "/v1/anything/x", []],
    ["/v1/{id}", "/v1/7", ["7"]],
    ["/v1/{id}", "/v1/a%2Fb%20c%3F", ["a/b c?"]],
    ["/v1/{id}", "/v1/a+b", ["a+b"]],
    ["/v1/{a.b}/x/{c}", "/v1/1/x/2", ["1", "2"]],
    ["/v1/{name=shelves/*/books/*}", "/v1/shelves/1/books/2", ["shelves/1/books/2"]],
    ["/v1/{name=shelves/*/books/*}", "/v1/shelves/1/pages/2", undefined],
    ["/v1/{name=shelves/*}/{id}", "/v1/shelves/a%2Fb%20c/d%2fe", ["shelves/a%2Fb c", "d/e"]],
    ["/v1/{rest=**}", "/v1", [""]],
    ["/v1/{rest=**}", "/v1/a", ["a"]],
    ["/v1/{rest=**}", "/v1/a/b%2Fc", ["a/b%2Fc"]],
    ["/v1/{rest=**}", "/v2/a", undefined],
    ["/v1/{rest=a/**}/b/c", "/v1/a/b/c", ["a"]],
    ["/v1/{rest=a/**}/b/c", "/v1/a/x/y/b/c", ["a/x/y"]],
    ["/v1/{rest=a/**}/b/c", "/v1/a/b", undefined],
    ["/v1/{rest=a/**/z}", "/v1/a/b/z", ["a/b/z"]],
    ["/v1/{x=*}/**", "/v1/1/2/3", ["1"]],
  ])("%s %s", (template, path, values) => {
    expect(match(parseTemplate(template), path.slice(1).split("/"))).toEqual(values);
  });

  const word = fc.string({ minLength: 1, unit: "grapheme" }).filter((text) => text.isWellFormed());
  const literal = fc.stringMatching(/^[\w.~-]{1,8}$/);

  test("whatever a single-segment variable holds comes back as it was", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(literal, word), { minLength: 1, maxLength: 5 }),
        fc.option(literal),
        (pairs, verb) => {
          const template = pairs.map(([before], index) => `/${before}/{field${index}}`).join("");
          const path = pairs.map(([before, value]) => `/${before}/${encodeURIComponent(value)}`).join("");
          const parsed = parseTemplate(verb === null ? template : `${template}:${verb}`);
          expect(match(parsed, path.slice(1).split("/"))).toEqual(pairs.map(([, value]) => value));
        },
      ),
    );
  });

  test("whatever a multi-segment variable holds comes back as it was, but for encoded slashes", () => {
    const segment = word.filter((text) => !text.includes("/") && !/%2f/i.test(text));
    fc.assert(
      fc.property(
        fc.array(segment, { maxLength: 5 }),
        fc.array(literal, { maxLength: 2 }),
        (segments, after) => {
          const parsed = parseTemplate(["/v1/{rest=**}", ...after].join("/"));
          const path = ["v1", ...segments.map(encodeURIComponent), ...after];
          expect(match(parsed, path)).toEqual([segments.join("/")]);
        },
      ),
    );
  });
});

test("a literal stands before `*`, `*` before the end, the end before `**`, and a verb before all", () => {
  const inOrder = [
    "/v1/*:verb",
    "/v1/**:verb",
    "/v1/a/b",
    "/v1/a/*",
    "/v1/a",
    "/v1/a/**/b",
    "/v1/a/**",
    "/v1/*/b",
    "/v1/{x}",
    "/v1/{x}/**",
    "/v1/**",
    "/**",
  ].map(parseTemplate);
  fc.assert(
    fc.property(fc.shuffledSubarray(inOrder, { minLength: inOrder.length }), (shuffled) => {
      expect(shuffled.sort(byPrecedence).map(shapeOf)).toEqual(inOrder.map(shapeOf));
    }),
  );
});
