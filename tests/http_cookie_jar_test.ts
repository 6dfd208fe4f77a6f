import { describe, test } from "node:test";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { parseCookieDate } from "../http/_cookie_parse.ts";
import { CookieJar } from "../http/cookie_jar.ts";
import type { CookieJarJson } from "../http/cookie_jar.ts";

const DAY = 24 * 60 * 60 * 1000;

/** What goes to a URL once another has set cookies. */
function sent(url: string, set: string | string[], from = url): string {
  const jar = new CookieJar();
  for (const one of [set].flat()) jar.set(one, from);
  return jar.header(url) ?? "";
}

describe("CookieJar parses", () => {
  const at = "http://a.example/";
  const cases: [what: string, set: string, header: string][] = [
    ["a pair", "a=1", "a=1"],
    ["spaces and tabs around", " a \t=\t 1 ; Path=/", "a=1"],
    ["a value with equals", "a=b=c=", "a=b=c="],
    ["quotes, kept", 'a="1"', 'a="1"'],
    ["an empty value", "a=", "a="],
    ["a value alone", "lonely", "lonely"],
    ["a value after an empty name", "=lonely", "lonely"],
    ["bytes past ASCII", "a=\xe9", "a=\xe9"],
    ["unknown attributes", "a=1; Foo=bar; ; =; Priority", "a=1"],
    ["nothing at all", "", ""],
    ["an equals sign alone", "=; Path=/", ""],
    ["controls", "a=1\x00", ""],
    ["a line feed", "a=1; b\n=1", ""],
    ["DEL", "a=\x7f", ""],
    ["what no field carries", "a=\u20ac", ""],
    ["a pair of 4096 bytes", `a=${"x".repeat(4095)}`, `a=${"x".repeat(4095)}`],
    ["a pair of 4097 bytes", `a=${"x".repeat(4096)}`, ""],
    ["Max-Age", "a=1; max-age=60", "a=1"],
    ["Max-Age of 0", "a=1; Max-Age=0", ""],
    ["negative Max-Age", "a=1; Max-Age=-5", ""],
    ["Max-Age that is none", "a=1; Max-Age=0x", "a=1"],
    ["Max-Age with a plus", "a=1; Max-Age=+0", "a=1"],
    ["an old date", "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", ""],
    ["no date", "a=1; Expires=yesterday", "a=1"],
    ["Max-Age over Expires", "a=1; Max-Age=9; Expires=1 Jan 1990 0:0:0", "a=1"],
    ["a relative Path", "a=1; Path=x", "a=1"],
    ["the last Path", "a=1; Path=/x; Path=/", "a=1"],
    ["a Path too long, ignored", `a=1; Path=/${"x".repeat(1024)}`, "a=1"],
    ["another Path", "a=1; Path=/x", ""],
    ["an empty Domain", "a=1; Domain=", "a=1"],
    ["Domain with a dot", "a=1; Domain=.A.Example", "a=1"],
    ["a foreign Domain", "a=1; Domain=b.example", ""],
    ["a Domain below", "a=1; Domain=x.a.example", ""],
    ["half a Domain", "a=1; Domain=xample", ""],
    ["a Domain of one label", "a=1; Domain=example", ""],
    ["a Domain past ASCII", "a=1; Domain=\xe9.example", ""],
    ["Secure without TLS", "a=1; Secure", ""],
  ];
  for (const [what, set, header] of cases) {
    test(what, () => assertEquals(sent(at, set), header));
  }

  const dates: [text: string, iso: string | undefined][] = [
    ["Wed, 09 Jun 2021 10:18:14 GMT", "2021-06-09T10:18:14.000Z"],
    ["Wednesday, 09-Jun-21 10:18:14 GMT", "2021-06-09T10:18:14.000Z"],
    ["Wed Jun  9 10:18:14 2021", "2021-06-09T10:18:14.000Z"],
    ["10:18:14 jUNE 9th 2021", "2021-06-09T10:18:14.000Z"],
    ["1 Jan 70 1:2:3", "1970-01-01T01:02:03.000Z"],
    ["1 Jan 69 1:2:3z", "2069-01-01T01:02:03.000Z"],
    ["29 Feb 2024 0:0:0", "2024-02-29T00:00:00.000Z"],
    ["29 Feb 2023 0:0:0", undefined],
    ["31 Apr 2023 0:0:0", undefined],
    ["0 Jan 2023 0:0:0", undefined],
    ["32 Jan 2023 0:0:0", undefined],
    ["1 Jan 1600 0:0:0", undefined],
    ["1 Jan 2023 24:0:0", undefined],
    ["1 Jan 2023 0:60:0", undefined],
    ["1 Jan 2023 0:0:60", undefined],
    ["1 Jan 2023 0:0", undefined],
    ["1 Jan 20234 0:0:0", undefined],
    ["1 Foo 2023 0:0:0", undefined],
    ["", undefined],
  ];
  for (const [text, iso] of dates) {
    test(`the date ${text}`, () => {
      const date = parseCookieDate(text);
      assertEquals(
        date === undefined ? undefined : new Date(date).toISOString(),
        iso,
      );
    });
  }

  test("no life over 400 days", () => {
    const jar = new CookieJar();
    jar.set("a=1; Max-Age=99999999999", "http://a.example/");
    jar.set("b=1; Expires=1 Jan 2999 0:0:0", "http://a.example/");
    for (const { expires } of jar) {
      assert(expires! <= Date.now() + 400 * DAY);
      assert(expires! > Date.now() + 399 * DAY);
    }
  });
});

describe("CookieJar matches", () => {
  const cases: [what: string, url: string, from: string, set: string][] = [
    ["the host", "http://a.b.example/", "http://a.b.example/", "a=1"],
    ["-below it", "http://x.b.example/", "http://b.example/", "a=1"],
    [
      "below a Domain",
      "http://x.y.b.example/",
      "http://b.example/",
      "a=1; Domain=b.example",
    ],
    [
      "a parent's Domain",
      "http://z.b.example/",
      "http://y.b.example/",
      "a=1; Domain=b.example",
    ],
    [
      "-a name that ends alike",
      "http://xb.example/",
      "http://b.example/",
      "a=1; Domain=b.example",
    ],
    ["any port", "http://b.example:81/", "http://b.example/", "a=1"],
    ["an address", "http://127.0.0.1/", "http://127.0.0.1/", "a=1"],
    [
      "-above an address",
      "http://1.0.0.1/",
      "http://127.0.0.1/",
      "a=1; Domain=0.0.1",
    ],
    ["an IPv6 address", "http://[::1]/", "http://[::1]/", "a=1; Domain=[::1]"],
    ["the path below", "http://b.example/x/y", "http://b.example/x/z", "a=1"],
    ["-the path above", "http://b.example/", "http://b.example/x/z", "a=1"],
    [
      "-a path that begins alike",
      "http://b.example/xy",
      "http://b.example/",
      "a=1; Path=/x",
    ],
    [
      "a path with a slash",
      "http://b.example/x/y",
      "http://b.example/",
      "a=1; Path=/x/",
    ],
    ["https", "https://b.example/", "https://b.example/", "a=1; Secure"],
    ["wss", "wss://b.example/", "https://b.example/", "a=1; Secure"],
    ["-http", "http://b.example/", "https://b.example/", "a=1; Secure"],
    [
      "__Secure-",
      "https://b.example/",
      "https://b.example/",
      "__Secure-a=1; Secure",
    ],
    [
      "-__Secure- alone",
      "https://b.example/",
      "https://b.example/",
      "__secure-a=1",
    ],
    [
      "__Host-",
      "https://b.example/",
      "https://b.example/",
      "__Host-a=1; Secure; Path=/",
    ],
    [
      "-__Host- without Path",
      "https://b.example/",
      "https://b.example/",
      "__Host-a=1; Secure",
    ],
    [
      "-__Host- with a Domain",
      "https://b.example/",
      "https://b.example/",
      "__HOST-a=1; Secure; Path=/; Domain=b.example",
    ],
    [
      "-a prefix in a value without name",
      "https://b.example/",
      "https://b.example/",
      "=__Host-a=1; Secure; Path=/",
    ],
  ];
  for (const [what, url, from, set] of cases) {
    test(
      what,
      () => assertEquals(sent(url, set, from) === "", what.startsWith("-")),
    );
  }

  test("long paths first, then what is older", () =>
    assertEquals(
      sent("http://a.example/x/y", ["a=1; Path=/", "b=2; Path=/x", "c=3"]),
      "b=2; c=3; a=1",
    ));

  test("and keeps the place of one set again", () =>
    assertEquals(
      sent("http://a.example/", ["a=1", "b=2", "a=3"]),
      "a=3; b=2",
    ));

  test("and ends one that is set with an old date", () => {
    const jar = new CookieJar();
    jar.set("a=1", "http://a.example/");
    assertEquals(jar.set("a=; Max-Age=0; Path=/x", "http://a.example/"), false);
    assertEquals(jar.set("a=; Max-Age=0", "http://a.example/"), true);
    assertEquals(jar.size, 0);
  });

  test("and no plain answer hides a secure cookie", () => {
    const jar = new CookieJar();
    jar.set("a=1; Secure; Domain=b.example", "https://x.b.example/");
    assertEquals(jar.set("a=2", "http://b.example/y"), false);
    assertEquals(jar.set("a=2", "http://z.b.example/"), false);
    assertEquals(jar.set("a=2; Domain=b.example", "http://b.example"), false);
    assertEquals(jar.set("b=2", "http://b.example/"), true);
    jar.set("c=1; Secure; Path=/p", "https://b.example/");
    assertEquals(jar.set("c=2", "http://b.example/"), true);
    assertEquals(jar.set("c=2; Path=/p/q", "http://b.example/"), false);
    assertEquals(jar.set("a=3", "https://b.example/"), true);
  });

  test("httpOnly and sameSite", () => {
    const jar = new CookieJar();
    const url = "https://a.example/";
    const script = { http: false };
    assertEquals(jar.set("a=1; HttpOnly", url, script), false);
    jar.set("a=1; HttpOnly", url);
    assertEquals(jar.set("a=2", url, script), false);
    assertEquals(jar.header(url, script), undefined);
    jar.set("s=1; SameSite=Strict", url);
    jar.set("l=1; samesite=LAX", url);
    jar.set("n=1; SameSite=None; Secure", url);
    assertEquals(jar.header(url), "a=1; s=1; l=1; n=1");
    assertEquals(jar.header(url, { site: "lax" }), "a=1; l=1; n=1");
    assertEquals(jar.header(url, { site: "cross" }), "n=1");
    assertEquals(jar.set("x=1; SameSite=Lax", url, { site: "cross" }), false);
    assertEquals(jar.set("x=1; SameSite=None", url, { site: "cross" }), true);
  });

  test("public suffixes by the hook", () => {
    const jar = new CookieJar({
      isPublicSuffix: (domain) => domain === "co.example",
    });
    assertEquals(
      jar.set("a=1; Domain=co.example", "http://b.co.example"),
      false,
    );
    assertEquals(
      jar.set("a=1; Domain=b.co.example", "http://x.b.co.example"),
      true,
    );
    // For itself alone.
    assertEquals(jar.set("a=1; Domain=co.example", "http://co.example"), true);
    assertEquals(jar.header("http://z.co.example"), undefined);
    assertEquals(jar.header("http://co.example"), "a=1");
  });
});

describe("CookieJar keeps", () => {
  test("180 for a domain, the longest unused gone first", () => {
    const jar = new CookieJar();
    for (let i = 0; i < 180; i++) {
      jar.set(`c${i}=1; Path=/p${i}`, "http://a.example/");
    }
    assertEquals(jar.header("http://a.example/p0"), "c0=1");
    jar.set("new=1", "http://a.example/");
    assertEquals(jar.size, 180);
    assertEquals(jar.header("http://a.example/p0"), "c0=1; new=1");
    assertEquals(jar.header("http://a.example/p1"), "new=1");
  });

  test("3000 in all", () => {
    const jar = new CookieJar();
    for (let i = 0; i < 3010; i++) {
      jar.set("a=1", `http://h${i}.example/`);
    }
    assertEquals(jar.size, 3000);
    assertEquals(jar.header("http://h9.example/"), undefined);
    assertEquals(jar.header("http://h10.example/"), "a=1");
    assertEquals(jar.header("http://h3009.example/"), "a=1");
  });

  test("secure ones longer", () => {
    const jar = new CookieJar({ maxPerDomain: 2 });
    jar.set("s=1; Secure", "https://a.example/");
    jar.set("a=1", "https://a.example/");
    jar.set("b=1", "https://a.example/");
    assertEquals(jar.header("https://a.example/"), "s=1; b=1");
    assertThrows(() => new CookieJar({ maxCookies: 0 }), RangeError);
  });

  test("what JSON brings back, and nothing that is none", () => {
    const jar = new CookieJar();
    jar.set("b=2; Domain=a.example", "https://x.a.example/");
    jar.set("a=1; Path=/; Secure; HttpOnly; SameSite=Lax", "https://a.example");
    jar.set("c=3; Max-Age=100", "https://a.example/");
    const text = JSON.stringify(jar);
    const again = CookieJar.fromJSON(text);
    assertEquals(again.toJSON(), jar.toJSON());
    assertEquals(again.header("https://a.example/"), "b=2; a=1; c=3");
    again.endSession();
    assertEquals(again.header("https://a.example/"), "c=3");
    again.clear("a.example", "c");
    assertEquals(again.size, 0);
    assertThrows(() => CookieJar.fromJSON("{"), SyntaxError);
    assertThrows(() => CookieJar.fromJSON("null"), TypeError);
    const [cookie] = jar.toJSON().cookies;
    const bad: object[] = [
      ...[{ name: 1 }, { value: "x\r\ny" }, { value: "a; b" }, { path: "x" }],
      ...[{ domain: "" }, { domain: "A" }, { secure: 1 }, { sameSite: "x" }],
      ...[{ expires: "x" }, { created: null }, { name: "__Host-a" }],
    ];
    for (const over of bad) {
      assertThrows(
        () =>
          CookieJar.fromJSON(
            { cookies: [{ ...cookie, ...over }] } as CookieJarJson,
          ),
        TypeError,
      );
    }
    const old = { cookies: [{ ...cookie, expires: 1 }] };
    assertEquals(CookieJar.fromJSON(old).size, 0);
  });

  test("what a response's headers set", () => {
    const jar = new CookieJar();
    const headers = new Headers();
    headers.append("set-cookie", "a=1; Expires=Wed, 09 Jun 2100 10:18:14 GMT");
    headers.append("set-cookie", "b=2");
    jar.setAll(headers, new URL("http://a.example/"));
    assertEquals(jar.header(new URL("http://a.example/")), "a=1; b=2");
    jar.clear();
    assertEquals([...jar], []);
  });
});
