/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

/** A host that is watched for a while. For one thread; {@link #endEarly} and {@link #close} may come from any. */
public interface Watch extends AutoCloseable {
    /** Waits until the time is over, or {@link #endEarly} is called. */
    void await(int seconds) throws InterruptedException;

    /** Ends {@link #await}. */
    void endEarly();

    /** Removes what it made on the host. */
    @Override
    void close();
}
