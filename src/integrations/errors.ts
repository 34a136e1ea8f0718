import { ServiceError } from "#src/platform/errors.ts";

/** The slug is neither a sibling product's nor a well-formed custom one. */
export class InvalidSlug extends ServiceError {
  readonly kind = "invalid_argument";
  readonly reason = "INVALID_SLUG";

  constructor(builtIn: readonly string[]) {
    super(
      `serviceSlug: give one of ${builtIn.join(", ")}, or custom:<slug> ` +
        "with lower-case letters, digits and hyphens, at most 63",
    );
  }
}

/** There is no integration of this slug for the caller's organisation. */
export class UnknownIntegration extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "UNKNOWN_INTEGRATION";
  override readonly message =
    "no such integration; list them with GET /api/integrations, and name one of your own like custom:bank, in lower case";
}

/** Connections are of the integration, and would lose what their forms and probes come from. */
export class IntegrationInUse extends ServiceError {
  readonly kind = "failed_precondition";
  readonly reason = "INTEGRATION_IN_USE";
  override readonly metadata;

  constructor(slug: string, connections: number) {
    const those = connections === 1 ? "1 connection is" : `${connections} connections are`;
    super(`${those} of ${slug}; delete them first`);
    this.metadata = { connections: String(connections) };
  }
}

/** The organisation has stored no OAuth client for the method. */
export class OAuthClientNotFound extends ServiceError {
  readonly kind = "not_found";
  readonly reason = "NOT_FOUND";
  override readonly message =
    "no such OAuth client; store one with PUT /api/integrations/{slug}/auth-methods/{auth_method}/client";
}
