/** It has no types of its own. */
declare module "aws4" {
  interface SignedRequest {
    readonly headers: Readonly<Record<string, string>>;
  }
  function sign(
    request: {
      readonly service: string;
      readonly region: string;
      readonly method: string;
      readonly host: string;
      readonly path: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    },
    credentials: { readonly accessKeyId: string; readonly secretAccessKey: string },
  ): SignedRequest;
  export { sign };
}
