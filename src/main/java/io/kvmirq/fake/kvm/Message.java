/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.kvm;

/** A message that a route sends, decoded once, as its architecture understands it. */
public interface Message {}
