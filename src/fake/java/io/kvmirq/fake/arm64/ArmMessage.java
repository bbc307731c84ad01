/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake.arm64;

import java.util.OptionalInt;

/** A message to an ITS: address, event id, and device id unless the VMM omits it. */
record ArmMessage(long doorbell, int event, OptionalInt device) {}
