/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import java.util.OptionalInt;

/** A message to an ITS: the address, the event id, and the device id if the VMM gave one. */
record ArmMessage(long doorbell, int event, OptionalInt device) {}
