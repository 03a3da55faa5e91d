/**
 * What fuzzing has found, kept for ever. A seed shows it only as long as its target draws the same from it, so each has a test
 * beside the code that it was a fault of, too. Holds data only.
 */

/** Seeds of a target, replayed by `npm run fuzz -- --target NAME --seed N --runs 1`. */
export const KEPT_SEEDS: readonly { readonly target: string; readonly seed: number; readonly what: string }[] = [
  { target: "records", seed: 5_704, what: "control characters in a header became a user property" },
  { target: "records", seed: 7_349, what: "control characters in mqtt-content-type became a content type" },
  { target: "connection", seed: 1_795_555_281_635, what: "the client of the test closed before what it had sent" },
  { target: "data", seed: 270, what: "a row whose pages lead nowhere hid all that were read with it" },
  { target: "data", seed: 102_505, what: "a blank first sector of the write-ahead log dropped commits in silence" },
  { target: "data", seed: 1_795_558_217_053, what: "a sound page in the place of another lost rows in silence" },
  {
    target: "data",
    seed: 88_000_318,
    what: "a file that ended within a page kept all that were read with its last row",
  },
  { target: "data", seed: 20_000_499, what: "a snapshot that is wrong behind its checksum ended the inspection" },
];
