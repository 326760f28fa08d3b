import { PushcartError } from "./error.js"

/** Gives a token; asked each time one is needed. */
export type TokenSource = () => string | null | undefined | Promise<string | null | undefined>

/**
 * When a token expires by our clock, in milliseconds, if it is a JWT that says so. It was
 * just given out: where the clocks differ, what counts is how long it was made for.
 */
export function expiry(token: string | null | undefined): number | undefined {
  try {
    const { exp, iat } = JSON.parse(atob(token!.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/")))
    const now = Date.now(), left = exp * 1000 - now, life = (exp - iat) * 1000
    return now + (left > life || left <= 0 ? life : left)
  } catch {
    return undefined
  }
}

/** In how many milliseconds to renew what expires then: spread, as many may have been given out at once. */
export function renewIn(expires: number | undefined): number | undefined {
  const left = expires! - Date.now()
  return left > 0 ? Math.max(1000, left * (0.7 + 0.2 * Math.random())) : undefined
}

/** Asks the app for a token. Fails with `unauthenticated` if the app says that there will be none, else with `token`. */
export async function ask(source: TokenSource | undefined): Promise<string | null | undefined> {
  try {
    return await source?.()
  } catch (err) {
    if (err instanceof PushcartError && err.code === "unauthenticated") throw err
    throw new PushcartError("token", `no token: ${(err as Error)?.message ?? err}`, { cause: err })
  }
}
