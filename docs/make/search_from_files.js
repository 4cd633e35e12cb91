// A browser starts no Worker from a file. This one runs the script in a hidden frame; the theme would load such a class
// from a host.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inside = frame.contentWindow
      inside.document.open()
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      inside.importScripts = (...urls) => urls.reduce((before, src) => before.then(() => new Promise(done => {
        const script = inside.document.createElement("script")
        Object.assign(script, { src, onload: done })
        inside.document.body.append(script)
      })), Promise.resolve())
      inside.document.write("<body></body>")
      inside.document.close()
      inside.importScripts(url).then(() => {
        this.deliver = data => inside.dispatchEvent(new inside.MessageEvent("message", { data }))
        this.waiting.forEach(this.deliver)
      })
    }

    postMessage(data) {
      this.deliver ? this.deliver(data) : this.waiting.push(data)
    }
  }
