/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

/** An epoll set, as a descriptor that is no eventfd. */
final class EpollFile extends FakeFile {}
