import { createHash, timingSafeEqual } from "node:crypto";
import { serverLimits } from "../limits.ts";

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

const presented = (header: (name: string) => string | undefined): string[] => {
  const bearer = /^bearer +(\S+) *$/i.exec(header("authorization") ?? "")?.[1];
  return [header("x-api-key"), bearer]
    .filter((key) => key !== undefined)
    .filter((key) => Buffer.byteLength(key) <= serverLimits.apiKeyBytesMax);
};

/**
 * Tells whether a request's headers carry one of `apiKeys`, as `x-api-key` or as `authorization: Bearer`; without keys
 * everything passes. Digests are compared, each of them to the end, so the time tells nothing about a key.
 */
export const makeKeyCheck = (
  apiKeys: readonly string[],
): ((header: (name: string) => string | undefined) => boolean) => {
  const digests = apiKeys.map(digest);
  if (digests.length === 0) return () => true;
  return (header) => {
    let matches = 0;
    for (const key of presented(header)) {
      const given = digest(key);
      for (const known of digests) matches += timingSafeEqual(given, known) ? 1 : 0;
    }
    return matches > 0;
  };
};

export const missingKeyMessage =
  "an API key is needed: send one of the server's keys as x-api-key or authorization: Bearer";
