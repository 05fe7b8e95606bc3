import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The build is served by the concave server itself; `vite dev` needs VITE_CONVEX_URL to find one (see src/main.tsx).
export default defineConfig({
  plugins: [react()],
  build: { target: "es2022" },
});
