import { cors } from "@connectrpc/connect";
import type { HttpRequest, HttpResponse } from "./exchange.ts";

/** What a request is by its origin: from a permitted page (or no page at all), a preflight (answered), or foreign. */
export type OriginVerdict = "pass" | "answered" | "foreign";

const allowedHeaders = [...cors.allowedHeaders, "X-Api-Key", "Authorization"].join(", ");
const exposedHeaders = cors.exposedHeaders.join(", ");
const preflightSeconds = 7200;

/**
 * Checks a request against the origins (`*`: any) and sets the answer's CORS headers. This server has no pages of its
 * own, so an origin that is not configured is a foreign page, even if its name was rebound to this address.
 */
export const makeOriginCheck = (
  origins: readonly string[],
): ((request: HttpRequest, response: HttpResponse) => OriginVerdict) => {
  const permitted = new Set(origins.map((origin) => origin.replace(/\/$/, "").toLowerCase()));
  return (request, response) => {
    const { origin } = request.headers;
    if (origin === undefined) return "pass";
    response.setHeader("vary", "Origin");
    if (!permitted.has("*") && !permitted.has(origin.toLowerCase())) return "foreign";
    response.setHeader("access-control-allow-origin", origin);
    if (request.method === "OPTIONS" && "access-control-request-method" in request.headers) {
      response.writeHead(204, {
        "access-control-allow-methods": cors.allowedMethods.join(", "),
        "access-control-allow-headers": allowedHeaders,
        "access-control-max-age": String(preflightSeconds),
      });
      response.end();
      return "answered";
    }
    response.setHeader("access-control-expose-headers", exposedHeaders);
    return "pass";
  };
};
