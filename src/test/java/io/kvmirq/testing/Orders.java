/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import java.util.ArrayList;
import java.util.List;

/** All orders of some things, such as closes. */
public final class Orders {
    private Orders() {}

    public static <T> List<List<T>> of(List<T> all) {
        if (all.isEmpty()) {
            return List.of(List.of());
        }
        List<List<T>> orders = new ArrayList<>();
        for (T first : all) {
            List<T> others = new ArrayList<>(all);
            others.remove(first);
            for (List<T> rest : of(others)) {
                List<T> order = new ArrayList<>(List.of(first));
                order.addAll(rest);
                orders.add(order);
            }
        }
        return orders;
    }
}
