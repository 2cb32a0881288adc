import type {
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";

/** A request of either HTTP server, as connect takes it. */
export type HttpRequest = Parameters<typeof universalRequestFromNodeRequest>[0];

/** The answer that belongs to it. */
export type HttpResponse = Parameters<typeof universalResponseToNodeResponse>[1];
