import ImageTool

/// The program: everything is in `ImageTool`.
@main
enum CairnImg {
    static func main() { ImageToolMain.run() }
}
