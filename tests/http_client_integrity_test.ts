import { describe, test } from "node:test";
import { createHash } from "node:crypto";
import { assertEquals, assertRejects } from "./assert.ts";
import { within } from "./_support.ts";
import { withClient } from "./_client_support.ts";
import { answer, scripted } from "./_http_servers.ts";
import { Client, fake, FetchError, StatusError } from "../http/mod.ts";

const TEXT = "hello";
const hash = (algorithm: string, text = TEXT) =>
  `${algorithm}-${createHash(algorithm).update(text).digest("base64")}`;

/** Runs a test with a client whose every answer is the text. */
async function withText(run: (client: Client) => Promise<unknown>) {
  const transport = fake({
    "/empty": new Response(null),
    "/none": new Response(null, { status: 404 }),
    "*": TEXT,
  });
  const client = new Client({ base: "http://a.test", transport });
  try {
    await within(run(client), 10_000, "The test");
  } finally {
    await client.close({ timeout: 0 });
  }
}

describe("integrity", () => {
  test("lets a body pass that is what it says", () =>
    withText(async (client) => {
      for (
        const integrity of [
          ...["sha256", "sha384", "sha512"].map((name) => hash(name)),
          `${hash("sha256", "other")} ${hash("sha512")}`,
          ` ${hash("sha512", "other")}\t${hash("sha512")}?ct=text/plain `,
          hash("sha512").replaceAll("+", "-").replaceAll("/", "_"),
          ...["", "md5-abc", "nonsense", "sha1-AAAA"],
        ]
      ) {
        const response = await client.get("/", { integrity });
        assertEquals(response.status, 200);
        assertEquals(response.url, "http://a.test/");
        assertEquals(response.bodyUsed, false);
        assertEquals(await response.clone().text(), TEXT);
        assertEquals(await response.text(), TEXT);
      }
      const integrity = hash("sha256", "");
      assertEquals(await client.get("/empty", { integrity }).text(), "");
    }));

  test("rejects for any other", () =>
    withText(async (client) => {
      for (
        const integrity of [
          hash("sha256", "other"),
          // Only the strongest counts.
          `${hash("sha256")} ${hash("sha512", "other")}`,
          "sha256-AAAA",
        ]
      ) {
        const error = await assertRejects(
          () => client.get("/?secret", { integrity }),
          FetchError,
          "integrity",
        );
        assertEquals(error.code, "ERR_INTEGRITY");
        assertEquals(error.message.includes("secret"), false);
      }
      const init = { integrity: hash("sha256", ""), throwOnStatus: true };
      await assertRejects(() => client.get("/none", init), StatusError);
    }));
});

describe("onInform", () => {
  const early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n";
  const server = () =>
    scripted(({ socket }) => {
      socket.write(
        `HTTP/1.1 100 Continue\r\n\r\n${early}HTTP/1.1 102 Processing\r\n\r\n${
          answer("done")
        }`,
      );
    });

  test("is told what comes before the response, but for 100", () => {
    const told: [number, string | null][] = [];
    return withClient(server(), async (client, { url }) => {
      const response = await client.get(url);
      assertEquals(told, [[103, "</a>, </b>"], [102, null]]);
      assertEquals(await response.text(), "done");
    }, {
      onInform: (status, headers) => told.push([status, headers.get("link")]),
    });
  });

  test("ends a request by throwing", () =>
    withClient(server(), async (client, { url }) => {
      const onInform = () => {
        throw new RangeError("No");
      };
      await assertRejects(() => client.get(url, { onInform }), RangeError);
      assertEquals(client.stats().open, 0);
      assertEquals(await client.get(url).text(), "done");
    }));
});

describe("protocols", () => {
  test("takes what is spoken, and nothing else", () =>
    withText(async (client) => {
      const protocols = ["http/1.1"] as const;
      assertEquals(await client.get("/", { protocols }).text(), TEXT);
      for (const wrong of [[], ["h3"], ["http/1.1", "http/1.1"], "http/1.1"]) {
        await assertRejects(
          () => client.get("/", { protocols: wrong as unknown as ["h2"] }),
          TypeError,
          "protocols",
        );
      }
    }));
});
