/** The prices by which answers are reckoned: the server's, or what a person has put in their place. */

import { find } from "./dom.js";
import { costOf, dollars } from "./numbers.js";
import { keepChoice, readChoice } from "./store.js";

/** The prices that count. */
export function currentPrices() {
  return { ...JSON.parse(find("#config").textContent), ...readChoice("prices", {}) };
}

/**
 * Fill the fields and call back when one was changed; an empty one goes back to the server's price.
 *
 * @param {() => void} changed
 */
export function preparePrices(changed) {
  for (const field of document.querySelectorAll("[data-price]")) {
    const { price } = field.dataset;
    field.value = currentPrices()[price];
    field.addEventListener("change", () => {
      const { [price]: old, ...others } = readChoice("prices", {});
      const valid = field.value !== "" && Number(field.value) >= 0;
      keepChoice("prices", valid ? { ...others, [price]: Number(field.value) } : others);
      field.value = currentPrices()[price];
      changed();
    });
  }
}

/** Show what a conversation has cost so far. */
export function showTotal(messages) {
  const costs = messages.filter(({ role }) => role === "assistant").map((message) => costOf(message, currentPrices()) ?? 0);
  find("#total").textContent = `This conversation so far: ${dollars(costs.reduce((sum, cost) => sum + cost, 0))}`;
}
