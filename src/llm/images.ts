import type { ModelRequest } from "../agent/request.ts";

/** Where the images of a request go in its body, which is written without them: they are large, and nothing of them is copied. */
export type ImagePlaces = {
  /** Stands for each image. It cannot be in a request by chance or by someone's will. */
  readonly place: string;
  /** The whole body, in pieces. */
  readonly whole: (body: string) => readonly string[];
};

export const imagePlaces = ({ messages }: ModelRequest): ImagePlaces => {
  const place = `image-${crypto.randomUUID()}`;
  return {
    place,
    whole: (body) => {
      const images = messages.flatMap((message) => (message.role === "user" ? message.images : []));
      const [head = "", ...tails] = body.split(place);
      return [head, ...tails.flatMap((tail, index) => [images[index] ?? "", tail])];
    },
  };
};
