const DAYS = "SunMonTueWedThuFriSat";
const LONG_DAYS = new Set([
  ...["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday"],
  "Saturday",
]);
const MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec";

const IMF =
  /^([A-Z][a-z]{2}), (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d:\d\d:\d\d) GMT$/;
const RFC850 =
  /^([A-Z][a-z]{5,8}), (\d\d)-([A-Z][a-z]{2})-(\d\d) (\d\d:\d\d:\d\d) GMT$/;
const ASCTIME =
  /^([A-Z][a-z]{2}) ([A-Z][a-z]{2}) (\d\d| \d) (\d\d:\d\d:\d\d) (\d{4})$/;

/**
 * An HTTP-date in any of its three forms (RFC 9110, 5.6.7), in milliseconds
 * since 1970; `undefined` for anything else, also for a day that the calendar
 * does not have. That the day of the week is the right one is not asked.
 */
export function parseHttpDate(
  text: string,
  now: number = Date.now(),
): number | undefined {
  let found = IMF.exec(text);
  if (found !== null) {
    const [, name, day, month, year, time] = found;
    return placeOf(DAYS, name) === -1
      ? undefined
      : timeOf(Number(year), month, Number(day), time);
  }
  found = ASCTIME.exec(text);
  if (found !== null) {
    const [, name, month, day, time, year] = found;
    return placeOf(DAYS, name) === -1
      ? undefined
      : timeOf(Number(year), month, Number(day), time);
  }
  found = RFC850.exec(text);
  if (found === null || !LONG_DAYS.has(found[1])) return undefined;
  const [, , day, month, short, time] = found;
  const last = new Date(now);
  const present = last.getUTCFullYear();
  last.setUTCFullYear(present + 50);
  const year = present - present % 100 + Number(short);
  const date = timeOf(year, month, Number(day), time);
  // What seems over 50 years ahead is of the last century.
  return date !== undefined && date > last.getTime()
    ? timeOf(year - 100, month, Number(day), time)
    : date;
}

function placeOf(names: string, name: string): number {
  const at = names.indexOf(name);
  return at % 3 === 0 ? at / 3 : -1;
}

function timeOf(
  year: number,
  month: string,
  day: number,
  time: string,
): number | undefined {
  const at = placeOf(MONTHS, month);
  const [hours, minutes, seconds] = time.split(":").map(Number);
  // A second of 60 is a leap second.
  if (at === -1 || hours > 23 || minutes > 59 || seconds > 60) return undefined;
  const date = new Date(0);
  // Not Date.UTC: to that the year 70 is 1970.
  date.setUTCFullYear(year, at, day);
  if (date.getUTCDate() !== day) return undefined;
  return date.setUTCHours(hours, minutes, seconds);
}
