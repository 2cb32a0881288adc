import type { DescService } from "@bufbuild/protobuf";
import { type Client, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { EngramError, messageOf } from "../errors.ts";
import type { ClientSettings } from "./settings.ts";
import { plainText } from "./tool-text.ts";

/**
 * Does a command's work with a client of the engine's `service`, and lets go of the connection. What the engine refuses
 * fails as failed_precondition in its own words, an engine that cannot be reached as unavailable; each is one line.
 */
export async function withEngine<S extends DescService, T>(
  { url, apiKey }: ClientSettings,
  service: S,
  work: (client: Client<S>) => Promise<T>,
): Promise<T> {
  const sessionManager = new Http2SessionManager(url);
  const transport = createGrpcTransport({
    baseUrl: url,
    sessionManager,
    interceptors: [
      (next) => (request) => {
        if (apiKey !== null) request.header.set("x-api-key", apiKey);
        return next(request);
      },
    ],
  });
  try {
    return await work(createClient(service, transport));
  } catch (error) {
    throw error instanceof ConnectError ? failureOf(error, url) : error;
  } finally {
    sessionManager.abort();
  }
}

function failureOf(error: ConnectError, url: string): EngramError {
  // A status of its own is the engine's word; without one nobody has answered, or the connection broke.
  if (error.metadata.has("grpc-status"))
    return new EngramError("failed_precondition", oneLine(error.rawMessage), { cause: error });
  const reason = error.cause === undefined ? error.rawMessage : messageOf(error.cause);
  return new EngramError("unavailable", `cannot reach ${url}: ${oneLine(reason)}`, {
    cause: error,
  });
}

const oneLine = (text: string): string => plainText(text).replaceAll(/\s*\n\s*/g, " ");
