/** The version of the program; a test holds it against package.json, which the compiled binary does not carry. */
export const VERSION = "0.1.0";
