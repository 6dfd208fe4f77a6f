import { describe, test } from "node:test";
import { getCookies, setCookie } from "../http/mod.ts";
import type { Cookie } from "../http/mod.ts";
import { assertEquals, assertThrows } from "./assert.ts";
import { exchange, get, withServer } from "./_http_raw.ts";
import { modes } from "./_support.ts";

function cookies(header: string): [string, string][] {
  const request = new Request("http://localhost/", {
    headers: { cookie: header },
  });
  return Object.entries(getCookies(request));
}

function line(cookie: Cookie): string | null {
  const headers = new Headers();
  setCookie(headers, cookie);
  return headers.get("set-cookie");
}

describe("getCookies()", () => {
  test("reads names and values as they were sent", () => {
    assertEquals(cookies("a=1; b=2"), [["a", "1"], ["b", "2"]]);
    assertEquals(cookies("a=1;b=2;"), [["a", "1"], ["b", "2"]]);
    assertEquals(cookies("a = 1 ;\tb=x=y=="), [["a", "1"], ["b", "x=y=="]]);
    assertEquals(cookies('a="q"; b=%20'), [["a", '"q"'], ["b", "%20"]]);
    assertEquals(cookies("a="), [["a", ""]]);
  });

  test("leaves out what has no name, and takes the first of two", () => {
    assertEquals(cookies("lonely; =__Host-a=1; a=1; a=2"), [["a", "1"]]);
    assertEquals(cookies(""), []);
    assertEquals(
      Object.keys(getCookies(new Request("http://localhost/"))),
      [],
    );
  });

  test("is not fooled by names of the prototype", () => {
    const request = new Request("http://localhost/", {
      headers: { cookie: "__proto__=1; constructor=2" },
    });
    const found = getCookies(request);
    assertEquals(found["__proto__"], "1");
    assertEquals(found.constructor as unknown, "2");
    assertEquals(found.toString as unknown, undefined);
  });

  for (const engine of modes) {
    test(`reads and sets them on the ${engine} engine`, () =>
      withServer(
        (request) => {
          const headers = new Headers();
          for (const [name, value] of Object.entries(getCookies(request))) {
            setCookie(headers, { name, value, path: "/" });
          }
          return new Response("hello", { headers });
        },
        { engine },
        async (server) => {
          const text = await exchange(server, get("/", "cookie: a=1; b=2\r\n"));
          const lines = text.split("\r\n").filter((line) =>
            line.toLowerCase().startsWith("set-cookie:")
          );
          assertEquals(lines.map((line) => line.slice(12).trim()), [
            "a=1; Path=/",
            "b=2; Path=/",
          ]);
        },
      ));
  }
});

describe("setCookie()", () => {
  test("writes every attribute", () => {
    assertEquals(
      line({
        name: "a",
        value: "1",
        expires: new Date(0),
        maxAge: 60,
        domain: "example.com",
        path: "/x",
        secure: true,
        httpOnly: true,
        sameSite: "None",
        partitioned: true,
      }),
      "a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60; " +
        "Domain=example.com; Path=/x; Secure; HttpOnly; SameSite=None; " +
        "Partitioned",
    );
    assertEquals(line({ name: "a", value: "" }), "a=");
    assertEquals(line({ name: "a", value: '"b"' }), 'a="b"');
    assertEquals(
      line({ name: "a", value: "1", secure: false, sameSite: "lax" }),
      "a=1; SameSite=Lax",
    );
  });

  test("adds lines, one for each", () => {
    const headers = new Headers();
    setCookie(headers, { name: "a", value: "1" });
    setCookie(headers, { name: "b", value: "2" });
    assertEquals(headers.getSetCookie(), ["a=1", "b=2"]);
  });

  test("bounds maxAge to 400 days, and to what deletes", () => {
    assertEquals(line({ name: "a", value: "", maxAge: 0 }), "a=; Max-Age=0");
    assertEquals(line({ name: "a", value: "", maxAge: -9 }), "a=; Max-Age=0");
    assertEquals(
      line({ name: "a", value: "1", maxAge: 1e12 }),
      "a=1; Max-Age=34560000",
    );
  });

  const base = { name: "a", value: "1" };
  const bad: [string, Record<string, unknown>][] = [
    ["an empty name", { name: "" }],
    ["a name with =", { name: "a=b" }],
    ["a name with a line break", { name: "a\r\nb" }],
    ["a name past ASCII", { name: "é" }],
    ["a value with ;", { value: "1; Domain=evil.example" }],
    ["a value with a comma", { value: "1,2" }],
    ["a value with a space", { value: "1 2" }],
    ["a value with a line break", { value: "1\r\nx: y" }],
    ["a value with NUL", { value: "1\0" }],
    ["a value with a lone quote", { value: '"' }],
    ["a value with a quote inside", { value: '"a"b"' }],
    ["a value with a backslash", { value: "a\\b" }],
    ["a value past ASCII", { value: "é" }],
    ["a value that is no string", { value: 1 }],
    ["a value that is too long", { value: "x".repeat(4096) }],
    ["a path with ;", { path: "/; Secure" }],
    ["a path that begins elsewhere", { path: "x" }],
    ["an empty path", { path: "" }],
    ["a path with a line break", { path: "/\n" }],
    ["a path that ends in a space", { path: "/a " }],
    ["a path that is too long", { path: "/".repeat(1025) }],
    ["a domain with ;", { domain: "example.com; Path=/" }],
    ["a domain with a dot in front", { domain: ".example.com" }],
    ["a domain with a dot behind", { domain: "example.com." }],
    ["an empty domain", { domain: "" }],
    ["a domain with a port", { domain: "example.com:80" }],
    ["a domain with a line break", { domain: "a\n" }],
    ["a broken date", { expires: new Date(NaN) }],
    ["a date that is a string", { expires: "tomorrow" }],
    ["a date before 1601", { expires: new Date("1600-01-01") }],
    ["half seconds", { maxAge: 1.5 }],
    ["endless seconds", { maxAge: Infinity }],
    ["an unknown sameSite", { sameSite: "Lax; Secure" }],
    ["sameSite None without secure", { sameSite: "None" }],
    ["partitioned without secure", { partitioned: true }],
    ["a secure that is no boolean", { secure: "no" }],
    ["an unknown attribute", { httponly: true }],
    ["__Secure- without secure", { name: "__Secure-a" }],
    ["__SECURE- without secure", { name: "__SECURE-a", path: "/" }],
    ["__Host- without secure", { name: "__Host-a", path: "/" }],
    ["__Host- without a path", { name: "__Host-a", secure: true }],
    ["__host- with a path below", {
      name: "__host-a",
      secure: true,
      path: "/a",
    }],
    ["__Host- with a domain", {
      name: "__Host-a",
      secure: true,
      path: "/",
      domain: "example.com",
    }],
    ["__Http- without httpOnly", { name: "__Http-a", secure: true }],
  ];
  for (const [what, change] of bad) {
    test(`refuses ${what}`, () => {
      const headers = new Headers();
      const cookie = { ...base, ...change } as Cookie;
      const kind = "expires" in change || "maxAge" in change
        ? RangeError
        : TypeError;
      assertThrows(() => setCookie(headers, cookie), kind, "Cannot set the");
      assertEquals(headers.getSetCookie(), []);
    });
  }

  test("takes names with a prefix that have what it stands for", () => {
    assertEquals(
      line({ name: "__Host-a", value: "1", path: "/", secure: true }),
      "__Host-a=1; Path=/; Secure",
    );
    assertEquals(
      line({ name: "__Secure-a", value: "1", secure: true, domain: "a.b" }),
      "__Secure-a=1; Domain=a.b; Secure",
    );
  });
});
