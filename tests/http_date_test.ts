import { describe, test } from "node:test";
import { assertEquals } from "./assert.ts";
import { parseHttpDate } from "../http/_http_date.ts";

const AT = Date.UTC(1994, 10, 6, 8, 49, 37);
const NOW = Date.UTC(2026, 10, 21, 12, 0, 0);

describe("parseHttpDate", () => {
  test("takes the three forms", () => {
    for (
      const text of [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
      ]
    ) assertEquals(parseHttpDate(text, NOW), AT);
    assertEquals(
      parseHttpDate("Sun Nov 16 08:49:37 1994", NOW),
      Date.UTC(1994, 10, 16, 8, 49, 37),
    );
    assertEquals(parseHttpDate(new Date(NOW).toUTCString(), NOW), NOW);
  });

  test("takes years of two digits for those up to 50 years ahead", () => {
    const years = [
      ["Saturday, 21-Nov-26 12:00:00 GMT", 2026],
      ["Wednesday, 21-Nov-70 12:00:00 GMT", 2070],
      ["Saturday, 21-Nov-76 12:00:00 GMT", 2076],
      ["Saturday, 21-Nov-76 12:00:01 GMT", 1976],
      ["Monday, 21-Nov-77 12:00:00 GMT", 1977],
      ["Sunday, 21-Nov-99 12:00:00 GMT", 1999],
      ["Tuesday, 21-Nov-00 12:00:00 GMT", 2000],
    ] as const;
    for (const [text, year] of years) {
      assertEquals(new Date(parseHttpDate(text, NOW)!).getUTCFullYear(), year);
    }
  });

  test("takes leap days, leap seconds and early years", () => {
    assertEquals(
      parseHttpDate("Thu, 29 Feb 2024 23:59:60 GMT"),
      Date.UTC(2024, 2, 1),
    );
    assertEquals(
      new Date(parseHttpDate("Sat, 01 Jan 0070 00:00:00 GMT")!)
        .getUTCFullYear(),
      70,
    );
  });

  test("takes nothing else", () => {
    for (
      const text of [
        ...["", "0", "-1", "now", "1994-11-06T08:49:37Z", "784111777"],
        ...["06 Nov 1994 08:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT"],
        ...["Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC"],
        ...["Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 06 Nov 1994 08:49 GMT"],
        ...["sun, 06 nov 1994 08:49:37 gmt", " Sun, 06 Nov 1994 08:49:37 GMT"],
        ...["Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 06 Nov 1994 24:00:00 GMT"],
        ...["Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT"],
        ...["Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT"],
        ...["Sun, 29 Feb 2023 00:00:00 GMT", "Sun, 06 ovD 1994 08:49:37 GMT"],
        ...["Xyz, 06 Nov 1994 08:49:37 GMT", "unM, 06 Nov 1994 08:49:37 GMT"],
        ...["Someday, 06-Nov-94 08:49:37 GMT", "Sun, 06-Nov-94 08:49:37 GMT"],
        ...["Sun Nov 6 08:49:37 1994", "Sun Nov  6 08:49:37 1994 GMT"],
        ...[
          "Sun,  06 Nov 1994 08:49:37 GMT",
          "Sun, 06 Nov 1994 08:49:37 GMT x",
        ],
      ]
    ) assertEquals(parseHttpDate(text, NOW), undefined, text);
  });
});
