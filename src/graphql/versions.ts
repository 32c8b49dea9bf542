/** What GET /versions says: only what works. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions */
export const supportedVersions: readonly string[] = [
  ...['r0.0.1', 'r0.1.0', 'r0.2.0', 'r0.3.0', 'r0.4.0', 'r0.5.0', 'r0.6.0', 'r0.6.1'],
  // None after v1.12: what later ones promise is not all here, and clients need no more.
  ...Array.from({ length: 12 }, (_, index) => `v1.${index + 1}`),
]

/** Flags that clients and bridges look for; each is added with the feature that it names. */
export const unstableFeatures: Readonly<Record<string, boolean>> = {
  // profile fields of any name
  'uk.tcpip.msc4133': true,
  'uk.tcpip.msc4133.stable': true,
  // uploads after the id, authenticated media
  'fi.mau.msc2246.stable': true,
  'org.matrix.msc3916.stable': true,
}
