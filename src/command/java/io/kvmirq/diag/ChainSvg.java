/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.diag;

import io.kvmirq.text.Foreign;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;

/** A chain as a picture: a box for each link, the broken one marked in words and colour. All names in it are text. */
public final class ChainSvg {
    private static final int MARGIN = 14;
    private static final int WIDTH = 960;
    private static final int BOX = 116;
    private static final int BOX_HEIGHT = 78;
    private static final int GAP = 20;
    private static final int TOP = 46;
    private static final int LINE = 19;
    /** Characters of a value that fit into its box, and of a sentence that fit into the picture. */
    private static final int VALUE = 13;

    private static final int SENTENCE = 120;
    private static final int TITLE = 72;
    /** A longer value has smaller letters. */
    private static final int SHORT_VALUE = 10;

    private static final int MOST_LINES = 4;

    private static final String GOOD = "#1a7f37";
    private static final String BAD = "#cf222e";
    private static final String UNKNOWN = "#57606a";
    private static final String DARK = "#1f2328";
    /** Characters that XML does not allow, and halves of surrogate pairs. */
    private static final Pattern NO_XML = Pattern.compile("[\\p{Cn}\\p{Cs}]");

    private final StringBuilder svg = new StringBuilder();

    private ChainSvg() {}

    /** The picture, an SVG file. */
    public static String of(Chain chain) {
        return new ChainSvg().draw(chain);
    }

    private String draw(Chain chain) {
        List<Line> below = sentences(chain);
        int height = TOP + BOX_HEIGHT + MARGIN + below.size() * LINE + MARGIN;
        line("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + WIDTH + "\" height=\"" + height
                + "\" viewBox=\"0 0 " + WIDTH + " " + height + "\" font-family=\"sans-serif\" font-size=\"13\">");
        String title = chain.device() + "  " + chain.interrupt()
                + chain.guest().map(name -> "  → " + name).orElse("");
        line("<title>" + xml(title) + "</title>");
        line("<rect width=\"" + WIDTH + "\" height=\"" + height + "\" fill=\"#ffffff\"/>");
        text(MARGIN, MARGIN + LINE - 3, "start", 15, DARK, "bold", cut(title, TITLE));
        // Only links that a tape can show have a box.
        List<Hop> hops = List.copyOf(EnumSet.complementOf(EnumSet.of(Hop.DEVICE, Hop.VMM, Hop.POSTING)));
        for (int i = 0; i < hops.size(); i++) {
            box(MARGIN + i * (BOX + GAP), hops.get(i), chain.link(hops.get(i)), i > 0);
        }
        for (int i = 0; i < below.size(); i++) {
            int y = TOP + BOX_HEIGHT + MARGIN + (i + 1) * LINE - 5;
            text(
                    MARGIN,
                    y,
                    "start",
                    13,
                    below.get(i).colour(),
                    "normal",
                    below.get(i).text());
        }
        line("</svg>");
        return svg.toString();
    }

    private void box(int x, Hop hop, Optional<Link> link, boolean arrow) {
        Optional<Link.State> state = link.map(Link::state);
        boolean broken = state.equals(Optional.of(Link.State.BROKEN));
        boolean whole = state.equals(Optional.of(Link.State.WHOLE));
        String colour = broken ? BAD : whole ? GOOD : UNKNOWN;
        int middle = x + BOX / 2;
        if (arrow) {
            int y = TOP + BOX_HEIGHT / 2;
            line("<path d=\"M" + (x - GAP + 2) + " " + y + "h" + (GAP - 5) + "m-5 -4l5 4l-5 4\" fill=\"none\" stroke=\""
                    + colour + "\"" + (whole ? "" : " stroke-dasharray=\"3 2\"") + "/>");
        }
        line("<g>");
        link.ifPresent(one -> line("<title>"
                + xml(one.text()
                        + one.evidence().map(evidence -> " [" + evidence + "]").orElse(""))
                + "</title>"));
        line("<rect x=\"" + x + "\" y=\"" + TOP + "\" width=\"" + BOX + "\" height=\"" + BOX_HEIGHT
                + "\" rx=\"6\" fill=\""
                + (broken ? "#ffebe9" : whole ? "#f0fff4" : "#f6f8fa") + "\" stroke=\"" + colour + "\" stroke-width=\""
                + (broken ? 3 : 1) + "\"" + (whole || broken ? "" : " stroke-dasharray=\"4 3\"") + "/>");
        text(middle, TOP + LINE, "middle", 12, UNKNOWN, "normal", hop.label());
        String value = broken ? "BROKEN" : link.flatMap(Link::value).orElse(link.isPresent() ? "?" : "-");
        int size = value.length() > SHORT_VALUE ? 12 : 14;
        text(middle, TOP + 2 * LINE + 4, "middle", size, broken ? BAD : DARK, "bold", cut(value, VALUE));
        String evidence = link.flatMap(Link::evidence)
                .map(one -> one.kind().label())
                .orElse(link.isPresent() ? "not shown" : "not reached");
        text(middle, TOP + BOX_HEIGHT - 11, "middle", 11, colour, "normal", evidence);
        line("</g>");
    }

    /** A line below the boxes. */
    private record Line(String text, String colour) {}

    private static List<Line> sentences(Chain chain) {
        List<Line> all = new ArrayList<>();
        Optional<Link> broken = chain.firstBroken();
        if (broken.isPresent()) {
            wrap(
                    "first broken link: " + broken.get().hop().label() + ": "
                            + broken.get().text(),
                    BAD,
                    all);
            broken.get().remedy().ifPresent(text -> wrap("do: " + text, DARK, all));
        } else if (chain.fails().isPresent()) {
            wrap("not posted: " + chain.whyNot().orElse(""), BAD, all);
            chain.claim(Claim.Question.ELIGIBLE)
                    .flatMap(Claim::remedy)
                    .ifPresent(text -> wrap("do: " + text, DARK, all));
        } else {
            all.add(new Line("whole as far as it is seen", GOOD));
            if (chain.isNeverPosted()) {
                wrap("not posted here: " + chain.whyNot().orElse(""), DARK, all);
            }
            chain.link(Hop.GSI).ifPresent(link -> wrap("GSI: " + link.text(), DARK, all));
        }
        return all;
    }

    private static void wrap(String text, String colour, List<Line> to) {
        String rest = text;
        for (int i = 0; i < MOST_LINES && !rest.isEmpty(); i++) {
            int end = rest.length() <= SENTENCE ? rest.length() : rest.lastIndexOf(' ', SENTENCE);
            end = end <= 0 ? SENTENCE : end;
            boolean last = i == MOST_LINES - 1;
            to.add(new Line(last ? cut(rest, SENTENCE) : rest.substring(0, end), colour));
            rest = rest.substring(end).stripLeading();
        }
    }

    private static String cut(String text, int most) {
        return text.length() <= most ? text : text.substring(0, most - 1) + "…";
    }

    private void text(int x, int y, String anchor, int size, String colour, String weight, String text) {
        line("<text x=\"" + x + "\" y=\"" + y + "\" text-anchor=\"" + anchor + "\" font-size=\"" + size + "\" fill=\""
                + colour + "\" font-weight=\"" + weight + "\">" + xml(text) + "</text>");
    }

    private static String xml(String text) {
        return NO_XML.matcher(Foreign.printable(text))
                .replaceAll("?")
                .replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;");
    }

    private void line(String text) {
        svg.append(text).append('\n');
    }
}
