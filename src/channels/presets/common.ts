/** The answer that names the number of the event. */
export const numbered = { status: 200 } as const;

/** HMAC-SHA256 with the bytes of the secret as they are. */
export const hmacSha256 = { algorithm: "hmac-sha256", secret: "text" } as const;
