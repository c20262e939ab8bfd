import { expect, test } from "vitest";
import {
  assumeLeased,
  confirm,
  effectiveEverywhere,
  grant,
  leasedUntil,
  openBook,
  standingOf,
} from "../../../src/sync/book.ts";

const HOLD = 100;

test("after a start every holder is assumed leased for the whole time", () => {
  const book = openBook(["us"], 1_000, HOLD);
  expect(standingOf(book["us"], 1, 1_100)).toBe("unconfirmed");
  expect(standingOf(book["us"], 1, 1_101)).toBe("lease_expired");
});

test("a holder that is in no book is unconfirmed", () => {
  expect(standingOf(undefined, 1, 1_000_000)).toBe("unconfirmed");
});

test("only grants that show less than the position count against it", () => {
  let book = openBook(["us"], 0, HOLD);
  book = grant(book, "us", 5, 1_000, HOLD);
  book = grant(book, "us", 6, 1_050, HOLD);
  expect(leasedUntil(book["us"]!, 6)).toBe(1_100);
  expect(leasedUntil(book["us"]!, 7)).toBe(1_150);
  // A region that polls on and never confirms does not hold up a barrier for ever.
  for (let now = 1_060; now < 2_000; now += 10) book = grant(book, "us", 6, now, HOLD);
  expect(standingOf(book["us"], 6, 1_101)).toBe("lease_expired");
  expect(standingOf(book["us"], 7, 2_000)).toBe("unconfirmed");
});

test("a grant of an older head after a newer one still counts", () => {
  let book = grant({}, "us", 6, 1_000, HOLD);
  book = grant(book, "us", 5, 1_050, HOLD);
  expect(leasedUntil(book["us"]!, 6)).toBe(1_150);
});

test("a confirmation never goes back", () => {
  let book = confirm(openBook(["us"], 0, HOLD), "us", 7);
  book = confirm(book, "us", 3);
  expect(standingOf(book["us"], 7, 0)).toBe("confirmed");
  expect(confirm(book, "ap", 1)).toBe(book);
});

test("a book stays small however long a holder polls", () => {
  let book = openBook(["us"], 0, HOLD);
  for (let n = 0; n < 10_000; n++) book = grant(book, "us", n, n * 10, HOLD);
  expect(book["us"]!.grants.length).toBeLessThan(15);
});

test("a clock that was set makes every lease whole again, and keeps what was confirmed", () => {
  let book = confirm(openBook(["us", "ap"], 0, HOLD), "us", 2);
  book = assumeLeased(book, 50_000, HOLD);
  expect(standingOf(book["us"], 2, 50_000)).toBe("confirmed");
  expect(standingOf(book["ap"], 2, 50_100)).toBe("unconfirmed");
  expect(effectiveEverywhere(book, 2, 50_101)).toBe(true);
});
