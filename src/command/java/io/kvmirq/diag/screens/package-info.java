/* SPDX-License-Identifier: Apache-2.0 */
/** The findings that each command shows: paths, lists and checks of a host, and captures. Writes nothing. */
@NullMarked
package io.kvmirq.diag.screens;

import org.jspecify.annotations.NullMarked;
