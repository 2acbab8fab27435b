"""Code that runs in the browser for the drawing of a network: the fan of a neuron, and slow motion.

It changes models without telling the server (``sync: false``), so neither costs the server anything.
"""

#: Lights up the connections of the neuron under the pointer; the others fade. ``edges``: renderers of connections;
#: ``before``: source whose rows come before those of the neurons in their count; ``colors``: of fan-in and fan-out.
FAN = """
const quiet = {sync: false}
const {sx, sy} = cb_data.geometry
const place = `${sx} ${sy}`
if (!isFinite(sx)) fan.tsnn_left = fan.tsnn_place  // the pointer has left the figure
else if (place === fan.tsnn_left) return  // Bokeh asks again where it was, because the figure is drawn again
else [fan.tsnn_left, fan.tsnn_place] = [undefined, place]
const [index] = isFinite(sx) ? cb_data.index.indices : []
const row = index === undefined ? -1 : index + (before == null ? 0 : before.get_length() ?? 0)
const now = edges[0].data_source.data  // another one for each snapshot
if ((fan.tsnn_row === row && fan.tsnn_now === now) || (row < 0 && fan.tsnn_owner !== cb_obj.id)) return
fan.tsnn_row = row
fan.tsnn_now = now
fan.tsnn_owner = cb_obj.id
const found = {x0: [], y0: [], x1: [], y1: [], width: [], color: []}
if (row >= 0)
    for (const {data_source: {data}} of edges)
        for (let i = 0; i < data.x0.length; i++)
            if (data.start[i] === row || data.end[i] === row) {
                for (const name of ["x0", "y0", "x1", "y1"]) found[name].push(data[name][i])
                found.width.push(data.width[i] + 0.8)
                found.color.push(colors[data.end[i] === row ? 0 : 1])
            }
fan.setv({data: found}, quiet)
for (const renderer of edges) renderer.setv({muted: found.x0.length > 0}, quiet)
"""

#: Plays prune, regrow and train, two seconds each. With reduced motion, as three still pictures.
SLOW_MOTION = """
const quiet = {sync: false}
const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches
const sources = Object.fromEntries(Object.entries(edges).map(([kind, r]) => [kind, r.data_source]))
const given = Object.fromEntries(Object.entries(sources).map(([kind, s]) => [kind, s.data]))
const phases = cue.data.text
if (!phases.length) return
const title = fig.title.text
const first = Object.fromEntries(Object.entries(given).map(([kind, data]) => [
    kind, {alpha: Array.from(data.alpha), width: Array.from(data.width), then: Array.from(data.then)}]))
const run = fig.tsnn_motion = (fig.tsnn_motion ?? 0) + 1
const begun = performance.now(), length = 2200

function set(kind, change) {
    const {data} = sources[kind]
    for (let i = 0; i < data.alpha.length; i++) {
        const [alpha, width] = change(first[kind].alpha[i], first[kind].width[i], first[kind].then[i])
        data.alpha[i] = alpha
        data.width[i] = width
    }
    sources[kind].change.emit()
}

function frame() {
    if (run !== fig.tsnn_motion || Object.keys(given).some((kind) => sources[kind].data !== given[kind])) {
        if (phases.includes(fig.title.text)) fig.title.setv({text: title}, quiet)
        return  // another snapshot is drawn
    }
    const at = (performance.now() - begun) / length
    const phase = Math.min(Math.floor(at), phases.length)
    if (phase === phases.length) {
        for (const kind of Object.keys(given)) set(kind, (alpha, width) => [alpha, width])
        fig.title.setv({text: title}, quiet)
        return
    }
    if (fig.title.text !== phases[phase]) fig.title.setv({text: phases[phase]}, quiet)
    const part = still ? (phase === 0 ? 0 : 1) : Math.min(1, 1.15 * (at - phase))
    if (phase === 0) {
        set("pruned", (alpha, width) => [alpha * (1 - part), width])
        set("regrown", (alpha, width) => [0, width])
    } else if (phase === 1) {
        set("pruned", (alpha, width) => [0, width])
        set("regrown", (alpha, width) => [alpha * part, width * part])
    } else
        for (const kind of ["kept", "regrown"])
            set(kind, (alpha, width, then) => [alpha, width + (then - width) * part])
    if (still) setTimeout(frame, 250); else requestAnimationFrame(frame)
}
frame()
"""
