/** What GET /versions says: only what works. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions */
export const supportedVersions: readonly string[] = ['r0.6.1', ...Array.from({ length: 12 }, (_, index) => `v1.${index + 1}`)]

/** Flags that clients and bridges look for; each is added with the feature that it names. */
export const unstableFeatures: Readonly<Record<string, boolean>> = {}
